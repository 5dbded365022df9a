"""Small named runs, a second or two each, that between them touch every system, rule and attack."""

from __future__ import annotations

from collections.abc import Mapping

Scalar = str | int | float | bool
Settings = dict[str, Scalar]

BASE: Mapping[str, Scalar] = {
    "strategy": "fedavg",
    "run.rounds": 2,
    "run.device": "cpu",
    "task.train_samples": 320,
    "task.test_samples": 100,
    "partition.name": "iid",
    "model.name": "resnet8",
    "model.resnet8.width": 4,
    "training.batch_size": 16,
    "training.local_epochs": 2,
    "training.lr": 0.02,
    "federation.clients": 8,
    "attack.name": "badnets",
    "attack.malicious_fraction": 0.25,
    "synthetic.source": "mixed",
    "synthetic.per_class": 4,
    "output.report": False,
}
"""What all runs share; a run's own settings come on top."""

FM_FL: Settings = {
    "strategy": "fm-fl",
    "fm_fl.prototypes": "blocks",
    "fm_fl.blocks": "1, 2",
    "fm_fl.widths": "8, 12",
    "fm_fl.pretrain_epochs": 2,
    "fm_fl.kd_epochs": 1,
    "training.optimiser": "adam",
    "training.lr": 0.002,
}

TEXTS: Settings = {
    "task.dataset": "wn4",
    "task.train_samples": 160,
    "model.name": "distilbert-tiny",
    "federation.clients": 4,
    "training.optimiser": "adamw",
    "training.lr": 0.002,
}

CHANGES: Mapping[str, Settings] = {
    # Every rule; those that average everyone under attacks whose upload then reaches the model.
    "fedavg": {},
    "fedavg-exact": {"attack.participation": "exact", "federation.fraction_train": 0.5, "attack.name": "blend"},
    "flame": {"strategy": "flame", "attack.name": "dba"},
    "flame-half": {"strategy": "flame", "federation.fraction_train": 0.5, "run.rounds": 3},
    "clip-fed-filter": {"strategy": "clip-fed-filter", "attack.name": "blend"},
    "fltrust": {"strategy": "fltrust", "attack.name": "sign-flip", "defense.fltrust.root_samples": 40},
    "foolsgold": {"strategy": "foolsgold", "attack.name": "label-flip"},
    "fedcpa": {"strategy": "fedcpa", "attack.name": "semantic"},
    "krum": {"strategy": "krum", "attack.name": "alie", "partition.name": "main-class"},
    "multi-krum": {"strategy": "multi-krum", "attack.name": "min-max", "federation.buffers": "median"},
    "bulyan": {"strategy": "bulyan", "attack.name": "min-sum", "defense.bulyan.f": 1},
    "median": {"strategy": "median", "attack.name": "ipm"},
    "trimmed-mean": {"strategy": "trimmed-mean", "attack.name": "alie", "attack.collusion": "alone"},
    "rfa": {"strategy": "rfa", "attack.name": "gaussian"},
    "norm-threshold": {
        "strategy": "norm-threshold",
        "attack.name": "model-replacement",
        "defense.norm-threshold.threshold": "history",
    },
    "weak-dp": {"strategy": "weak-dp", "attack.name": "constrain-and-scale"},
    "dp": {"strategy": "dp", "attack.name": "pgd", "defense.dp.noise": 0.1},
    "rlr": {"strategy": "rlr", "attack.name": "edge-case"},
    "rfout": {"strategy": "rfout", "attack.name": "wanet"},
    "clip-cluster": {"strategy": "clip-cluster", "attack.name": "bpp"},
    "signguard": {"strategy": "signguard", "attack.name": "sig", "attack.poison_scope": "all"},
    "signguard-sim": {"strategy": "signguard-sim", "attack.name": "sign-flip", "defense.signguard-sim.warm_up": 1},
    "freqfed": {"strategy": "freqfed", "attack.name": "neurotoxin"},
    "feddmc": {"strategy": "feddmc", "attack.name": "label-flip"},
    "auror": {"strategy": "auror", "attack.name": "label-flip", "partition.name": "shards"},
    "deepsight": {"strategy": "deepsight", "attack.name": "badnets", "defense.deepsight.noise_samples": 60},
    "fldetector": {"strategy": "fldetector", "attack.name": "gaussian", "defense.fldetector.restart": "history",
                   "defense.fldetector.window": 1, "run.rounds": 4},
    "fldetector-restart": {"strategy": "fldetector", "attack.name": "gaussian", "attack.gaussian.sigma": 1.0,
                           "defense.fldetector.window": 1, "run.rounds": 4},
    "crfl": {"strategy": "crfl", "attack.name": "blend", "defense.crfl.copies": 5},
    "pruning": {"strategy": "pruning", "federation.clients": 5, "attack.malicious_fraction": 0.4},
    "flpurifier": {"strategy": "flpurifier"},
    # Systems and controls: the server phase with the guide.
    "clip-fed": {"strategy": "clip-fed"},
    "clip-fed-cnn": {
        "strategy": "clip-fed",
        "run.rounds": 1,
        "model.name": "cnn",
        "model.cnn.width": 4,
        "model.cnn.hidden": 16,
        "synthetic.source": "flow",
        "synthetic.flow.steps": 2,
        "synthetic.moment_match": True,
        "synthetic.guide_agreement": True,
    },
    "clip-fed-plus": {"strategy": "clip-fed-plus", "attack.name": "dba"},
    "fine-tune": {"strategy": "fine-tune", "task.imbalance_factor": 10.0, "synthetic.augment": "patch"},
    "server-data-only": {"strategy": "server-data-only"},
    "central": {"strategy": "central"},
    "guide-zero-shot": {"strategy": "guide-zero-shot"},
    # Attacks under plain averaging, where nothing hides what they upload.
    "none": {"attack.name": "none", "partition.name": "dirichlet", "partition.dirichlet.beta": 0.3,
             "partition.dirichlet.min_samples": 2},
    "append-all": {"attack.poison_mode": "append-all", "attack.poison_scope": "all", "partition.name": "dirichlet"},
    "sig": {"attack.name": "sig", "model.name": "logistic"},
    "lp": {"task.test_samples": 400, "attack.name": "lp", "attack.lp.patience": 2, "attack.lp.least": 0.0},
    "lf": {"attack.name": "lf", "attack.lf.patience": 2, "attack.lf.least": 0.0},
    "lp-adaptive": {
        "strategy": "trimmed-mean",
        "federation.clients": 5,
        "attack.malicious_fraction": 0.4,
        "attack.name": "lp-adaptive",
        "attack.lp-adaptive.patience": 2,
        "attack.lp-adaptive.least": 0.0,
        "attack.lp-adaptive.steps": 4,
    },
    "afa": {"attack.name": "afa"},
    "neurotoxin-blend": {"attack.name": "neurotoxin", "attack.neurotoxin.trigger": "blend",
                         "attack.neurotoxin.reference": "last-update"},
    "replacement-window": {"attack.name": "model-replacement", "attack.start_round": 2, "attack.stop_round": 2,
                           "run.rounds": 3},
    "pgd-every": {"attack.name": "pgd", "attack.every": 2, "attack.pgd.epsilon": 0.5, "run.rounds": 3,
                  "model.name": "logistic"},
    "constrain-cosine": {"attack.name": "constrain-and-scale", "attack.constrain-and-scale.anomaly": "cosine",
                         "model.resnet8.norm": "group"},
    "three-clients": {"federation.clients": 3, "attack.malicious_ids": "1"},
    # Other choices of the same components.
    "flame-hdbscan": {
        "strategy": "flame",
        "attack.name": "badnets",
        "attack.badnets.position": "center",
        "attack.badnets.opacity": 0.7,
        "defense.flame.method": "hdbscan",
        "defense.flame.cosine_on": "updates",
        "run.eval_every": 2,
    },
    "filter-pca": {
        "strategy": "clip-fed-filter",
        "attack.name": "dba",
        "attack.dba.geometry": "square",
        "defense.clip-fed-filter.pca_components": 3,
        "defense.clip-fed-filter.normalise": True,
        "defense.clip-fed-filter.method": "hdbscan",
    },
    "freqfed-hdbscan": {
        "strategy": "freqfed",
        "attack.name": "bpp",
        "attack.bpp.dithering": True,
        "defense.freqfed.cosine_on": "updates",
        "defense.freqfed.method": "hdbscan",
    },
    "fedcpa-spearman": {
        "strategy": "fedcpa",
        "attack.name": "semantic",
        "attack.semantic.images": "own",
        "defense.fedcpa.correlation": "spearman",
        "model.name": "logistic",  # ranks jump: a deep model ends elsewhere on another processor
    },
    "fldetector-classifier": {
        "strategy": "fldetector",
        "attack.name": "label-flip",
        "attack.label-flip.mode": "source-target",
        "attack.label-flip.source_class": 3,
        "defense.fldetector.evidence": "classifier",
        "defense.fldetector.window": 1,
        "run.rounds": 3,
    },
    "flpurifier-updates": {"strategy": "flpurifier", "defense.flpurifier.cosine_on": "updates"},
    "fltrust-clean": {
        "strategy": "fltrust",
        "attack.name": "pgd",
        "defense.fltrust.root": "clean",
        "defense.fltrust.root_samples": 40,
        "defense.fltrust.root_training": "epochs",
    },
    "foolsgold-all": {"strategy": "foolsgold", "attack.name": "edge-case", "defense.foolsgold.features": "all"},
    "multi-krum-iterative": {
        "strategy": "multi-krum",
        "attack.name": "min-sum",
        "attack.min-sum.direction": "std",
        "defense.multi-krum.iterative": True,
    },
    "pruning-votes": {
        "strategy": "pruning",
        "attack.name": "edge-case",
        "attack.edge-case.turn": "quarter",
        "defense.pruning.method": "votes",
        "defense.pruning.activation": "abs",
        "defense.pruning.everyone": False,
        "defense.pruning.extreme_weights": 2.0,
    },
    "rfout-noise": {
        "strategy": "rfout",
        "attack.name": "wanet",
        "task.eval_split": "validation",
        "defense.rfout.clip": 1.0,
        "defense.rfout.noise": 0.001,
    },
    "signguard-dbscan": {
        "strategy": "signguard",
        "attack.name": "min-max",
        "attack.min-max.direction": "sign",
        "defense.signguard.clustering": "dbscan",
    },
    "weak-dp-round": {"strategy": "weak-dp", "attack.name": "gaussian", "defense.weak-dp.threshold": "round"},
    "guided-train": {
        "strategy": "clip-fed",
        "synthetic.band_average": "band",
        "synthetic.band_choice": "image",
        "purifier.clip-guided.bn_mode": "train",
        "purifier.clip-guided.projection": "frozen-orthogonal",
        "purifier.clip-guided.prototype": "per-sample",
    },
    "guided-median": {"strategy": "median", "purifier.name": "clip-guided-plus", "synthetic.augment": "none",
                      "purifier.clip-guided-plus.use_augmented": False,
                      "purifier.clip-guided-plus.feature_rectification": True},
    "bf16": {"run.precision": "bf16", "run.channels_last": False, "training.augment": "crop-flip",
             "training.weight_decay": 0.001, "run.seed": 2},
    # Texts.
    "addsent": {**TEXTS, "attack.name": "addsent"},
    "word": {**TEXTS, "attack.name": "word", "strategy": "krum", "training.optimiser": "sgd", "training.lr": 0.05},
    "fm-fl-texts": {**TEXTS, "strategy": "fm-fl", "attack.name": "bd-fmfl", "attack.trigger": "addsent",
                    "synthetic.source": "markov", "fm_fl.pretrain_epochs": 1, "fm_fl.kd_epochs": 1},
    # Attackers of a filter of the server's data.
    "guide-patch": {"attack.name": "guide-patch", "attack.guide-patch.steps": 3, "attack.guide-patch.samples": 16},
    "fmb": {"attack.name": "fmb", "attack.fmb.self_mix": 1.0},
    # Attacks that train something first, or choose labels alone; few steps of each.
    "ssba": {"attack.name": "ssba", "attack.ssba.samples": 48, "attack.ssba.epochs": 1, "attack.ssba.batch_size": 16},
    "iab": {"attack.name": "iab", "attack.iab.samples": 48, "attack.iab.epochs": 1, "attack.iab.mask_epochs": 1,
            "attack.iab.batch_size": 24, "attack.iab.width": 4, "run.rounds": 1},
    "ctrl-luma": {"attack.name": "ctrl-luma", "attack.ctrl-luma.test_magnitude": 200.0},
    "lc": {"attack.name": "lc", "attack.lc.samples": 48, "attack.lc.epochs": 1, "attack.lc.batch_size": 24,
           "attack.lc.attack_steps": 3, "poison.ratio": 0.5, "run.rounds": 1},
    "ada-sig": {"attack.name": "ada-sig", "attack.ada-sig.cover_rate": 1.0, "poison.ratio": 0.5},
    "flip": {"attack.name": "flip", "attack.flip.samples": 100, "attack.flip.epochs": 1, "attack.flip.passes": 1,
             "attack.flip.batch_size": 50, "attack.flip.checkpoint_every": 1, "run.rounds": 1},
    "gcb-direction": {"attack.name": "gcb-direction", "attack.gcb-direction.samples": 200},
    "gcb-cinfogan": {"attack.name": "gcb-cinfogan", "attack.gcb-cinfogan.samples": 48, "run.rounds": 1,
                     "attack.gcb-cinfogan.epochs": 1, "attack.gcb-cinfogan.batch_size": 24,
                     "attack.gcb-cinfogan.edit_steps": 2},
    "bounds": {"purifier.name": "activation-bounds", "purifier.activation-bounds.epochs": 1, "run.rounds": 1},
    # Prototypes that begin on the server's synthetic data and learn from their clients' ensemble on it.
    "fm-fl": {**FM_FL, "attack.name": "bd-fmfl", "splitter.name": "guide-agreement",
              "synthetic.sanitizer": "relabel-confident", "federation.clients": 5},
    "fm-fl-classic": {**FM_FL, "attack.name": "bd-fl", "adversary.malicious_ids": "0", "defense.name": "krum",
                      "attack.bd-fl.kd_trigger_labels": "none", "poison.share_of": "all",
                      "fm_fl.prototypes": "one"},
    "fm-fl-no-init": {**FM_FL, "attack.name": "bd-fmfl-no-init", "fm_fl.teachers": "own-group",
                      "splitter.name": "loss-only", "synthetic.sanitizer": "unlearn"},
    "fm-fl-no-kd": {**FM_FL, "attack.name": "bd-fmfl-no-kd", "fm_fl.fusion": "logits-only", "fm_fl.alpha": 0.0,
                    "federation.clients": 4},
    "fm-fl-free": {**FM_FL, "attack.name": "af-fl", "federation.fraction_evaluate": 1.0, "partition.test_fraction": 0.2,
                   "federation.evaluate_model": "fine-tuned", "federation.evaluate_triggered": "common",
                   "federation.clients": 3},
    # A rule and an attack that both remember, stopped after one round and gone on with.
    "whole": {"strategy": "foolsgold", "attack.name": "lp", "attack.lp.patience": 2, "attack.lp.least": 0.0,
              "attack.lp.refresh": 9, "federation.clients": 5, "attack.malicious_fraction": 0.4},
}  # fmt: skip
"""Name -> what its run changes of ``BASE``."""

STOPPED: Mapping[str, tuple[str, int]] = {"resumed": ("whole", 1), "fm-fl-resumed": ("fm-fl", 1)}
"""Name -> the run it must equal, and the round after which it is stopped and goes on from its checkpoint."""

CELLS: Mapping[str, Settings] = {name: {**BASE, **changes} for name, changes in CHANGES.items()} | {
    name: {**BASE, **CHANGES[whole], "run.checkpoint_every": 1} for name, (whole, _) in STOPPED.items()
}
"""Name -> all its settings, as flat keys."""
