"""Data sets in their published on-disk formats, and the settings of ``task``."""

import pickle
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.sections import TaskSection
from fedcrucible_core.learning.datasets import DATASETS, HuggingFace, dataset_source, load_task, prepare

TRAIN, TEST = 200, 40


@pytest.fixture(autouse=True)
def _no_data_env(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FEDCRUCIBLE_DATA", raising=False)


def fake(count: int, shape: tuple[int, ...], classes: int = 10, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images whose first pixel numbers them, so that none equals another; labels 0..classes-1 in turn."""
    images = np.random.default_rng(seed).integers(0, 256, size=(count, *shape), dtype=np.uint8)
    images.reshape(count, -1)[:, 0] = np.arange(count) % 256
    return images, np.arange(count) % classes


def write_idx(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def write_mnist_like(root: Path, folder: str) -> None:
    for stem, count, seed in (("train", TRAIN, 0), ("t10k", TEST, 1)):
        images, labels = fake(count, (28, 28), seed=seed)
        write_idx(root / folder / "raw" / f"{stem}-images-idx3-ubyte", images)
        write_idx(root / folder / "raw" / f"{stem}-labels-idx1-ubyte", labels)


def write_cifar10(root: Path) -> None:
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    images, labels = fake(TRAIN, (3072,))
    for i in range(5):
        part = slice(i * TRAIN // 5, (i + 1) * TRAIN // 5)
        (folder / f"data_batch_{i + 1}").write_bytes(
            pickle.dumps({"data": images[part], "labels": labels[part].tolist()})
        )
    images, labels = fake(TEST, (3072,), seed=1)
    (folder / "test_batch").write_bytes(pickle.dumps({"data": images, "labels": labels.tolist()}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [str(i) for i in range(10)]}))


def write_cifar100(root: Path) -> None:
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    for name, count, seed in (("train", TRAIN, 0), ("test", TEST, 1)):
        images, labels = fake(count, (3072,), classes=100, seed=seed)
        (folder / name).write_bytes(pickle.dumps({"data": images, "fine_labels": labels.tolist()}))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": [str(i) for i in range(100)]}))


def write_svhn(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for name, count, seed in (("train", TRAIN, 0), ("test", TEST, 1)):
        images, labels = fake(count, (3, 32, 32), seed=seed)
        labels = np.where(labels == 0, 10, labels)  # SVHN writes the digit 0 as class 10
        savemat(root / f"{name}_32x32.mat", {"X": images.transpose(2, 3, 1, 0), "y": labels[:, None]})


def write_gtsrb(root: Path) -> None:
    training = root / "gtsrb" / "GTSRB" / "Training"
    final = root / "gtsrb" / "GTSRB" / "Final_Test" / "Images"
    final.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = ["Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"]
    for label in range(43):
        (training / f"{label:05d}").mkdir(parents=True)
        for i in range(2):
            size = (int(rng.integers(15, 60)), int(rng.integers(15, 60)))
            Image.new("RGB", size, (label * 5, 100, i)).save(training / f"{label:05d}" / f"{i:05d}_00000.ppm")
        Image.new("RGB", (40, 30), (label * 5, 200, 0)).save(final / f"{label:05d}.ppm")
        rows.append(f"{label:05d}.ppm;40;30;1;1;39;29;{label}")
    (root / "gtsrb" / "GT-final_test.csv").write_text("\n".join(rows) + "\n")


WRITERS = {
    "mnist": lambda root: write_mnist_like(root, "MNIST"),
    "fashion-mnist": lambda root: write_mnist_like(root, "FashionMNIST"),
    "cifar10": write_cifar10,
    "cifar10-lt": write_cifar10,
    "cifar100": write_cifar100,
    "svhn": write_svhn,
}


@pytest.fixture
def accept_fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fakes can't have the published checksums; everything else of torchvision's readers runs."""
    import torchvision.datasets as vision

    for module in (vision.cifar, vision.svhn):
        monkeypatch.setattr(module, "check_integrity", lambda path, md5=None: Path(path).is_file())


def task(root: Path, name: str, **settings: object) -> TaskSection:
    return TaskSection(dataset=name, data_dir=str(root), **({"train_samples": 0} | settings))


def hashes(images: torch.Tensor) -> list[bytes]:
    return [image.numpy().tobytes() for image in images]


@pytest.mark.parametrize("name", WRITERS)
def test_published_formats_are_read(name, tmp_path: Path, accept_fakes) -> None:
    WRITERS[name](tmp_path)
    data = dataset_source(name).read(tmp_path)
    flat_shape = (28, 28) if data.info.shape[0] == 1 else (3, 32, 32)
    images, labels = fake(TRAIN, flat_shape, data.info.num_classes)
    assert data.train.inputs.shape == (TRAIN, *data.info.shape)
    assert np.array_equal(data.train.inputs.numpy().reshape(images.shape), images)
    assert data.train.labels.tolist() == labels.tolist()
    images, labels = fake(TEST, flat_shape, data.info.num_classes, seed=1)
    assert np.array_equal(data.test.inputs.numpy().reshape(images.shape), images)
    assert data.test.labels.tolist() == labels.tolist()
    assert data.validation is None


def test_gtsrb_is_resized_once(tmp_path: Path) -> None:
    write_gtsrb(tmp_path)
    data = dataset_source("gtsrb").read(tmp_path)
    assert data.info.num_classes == 43
    assert data.train.inputs.shape == (86, 3, 32, 32)
    assert data.test.inputs.shape == (43, 3, 32, 32)
    assert torch.equal(data.train.inputs[:, 0, 16, 16].long(), data.train.labels * 5)
    assert torch.equal(data.test.inputs[:, 0, 16, 16].long(), data.test.labels * 5)
    (tmp_path / "gtsrb" / "GTSRB").rename(tmp_path / "gtsrb" / "elsewhere")
    again = dataset_source("gtsrb").read(tmp_path)
    assert torch.equal(again.train.inputs, data.train.inputs)
    assert torch.equal(again.test.labels, data.test.labels)


@pytest.mark.parametrize("name", [n for n in DATASETS if not DATASETS[n].ships and not DATASETS[n].after_colon])
def test_absent_data_says_how_to_get_it(name, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"task.dataset = '{name}': .*`fedcrucible prepare {name}`") as caught:
        load_task(task(tmp_path, name))
    assert caught.value.key == "task.dataset"


def test_damaged_data_is_refused(tmp_path: Path) -> None:
    write_cifar10(tmp_path)  # without accept_fakes the checksums don't fit
    with pytest.raises(ConfigError, match="absent or damaged"):
        load_task(task(tmp_path, "cifar10"))


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_labels_that_are_no_class_are_refused_whatever_the_source(
    name, tmp_path: Path, accept_fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    WRITERS[name](tmp_path)
    source = DATASETS[name]
    whole = source.open_split  # type: ignore[attr-defined]

    def spoiled(self, root, train, download=False):
        split = whole(self, root, train, download)
        split.labels[:3] = 255 if train else -1
        return split

    monkeypatch.setattr(source, "open_split", spoiled)
    message = (
        r"3 of 200 labels of the train split are no class \(e.g. 255.*; 3 of 40 labels of the test split are missing"
    )
    with pytest.raises(ConfigError, match=message):
        load_task(task(tmp_path, name))


def test_unknown_names_are_answered_with_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"task.dataset = 'cifar-10': did you mean 'cifar10'\?"):
        load_task(task(tmp_path, "cifar-10"))


@pytest.mark.parametrize("name", [n for n in DATASETS if not DATASETS[n].after_colon])
def test_every_registered_source_has_a_source_and_documentation(name) -> None:
    source = dataset_source(name)
    assert source.name == name
    assert source.paper
    if not source.ships and not isinstance(source, HuggingFace):
        info = source.info()  # type: ignore[attr-defined]
        assert info.name == name
        assert len(set(info.class_names)) == info.num_classes
        assert len(info.mean) == len(info.std) == info.shape[0]
        assert all(0 < v < 1 for v in (*info.mean, *info.std))


def test_published_class_counts() -> None:
    sources = {name: dataset_source(name) for name in (*WRITERS, "gtsrb")}
    counts = {name: source.info().num_classes for name, source in sources.items()}  # type: ignore[attr-defined]
    assert counts == {
        "mnist": 10, "fashion-mnist": 10, "cifar10": 10, "cifar10-lt": 10, "cifar100": 100, "svhn": 10, "gtsrb": 43,
    }  # fmt: skip


def test_environment_names_the_data_folder(monkeypatch, tmp_path) -> None:
    WRITERS["mnist"](tmp_path)
    monkeypatch.setenv("FEDCRUCIBLE_DATA", str(tmp_path))
    assert len(load_task(TaskSection(dataset="mnist", train_samples=50)).train) == 50


def test_validation_is_held_out_and_stratified(tmp_path: Path) -> None:
    WRITERS["mnist"](tmp_path)
    splits = load_task(task(tmp_path, "mnist", validation_fraction=0.25))
    train, validation = hashes(splits.train.inputs), hashes(splits.validation.inputs)
    assert len(train) == 150
    assert len(validation) == 50
    assert not set(train) & set(validation)
    assert splits.validation.labels.bincount().tolist() == [5] * 10
    assert load_task(task(tmp_path, "mnist", validation_fraction=0.25)) is splits


def test_nothing_is_held_out_when_the_fraction_is_zero(tmp_path: Path) -> None:
    WRITERS["mnist"](tmp_path)
    splits = load_task(task(tmp_path, "mnist", validation_fraction=0.0))
    assert (len(splits.train), len(splits.validation)) == (TRAIN, 0)
    with pytest.raises(ConfigError, match=r"task.eval_split = 'validation': nothing is held out"):
        load_task(task(tmp_path, "mnist", validation_fraction=0.0, eval_split="validation"))


def test_holding_out_everything_is_refused(tmp_path: Path) -> None:
    WRITERS["mnist"](tmp_path)
    with pytest.raises(ConfigError, match=r"task.validation_fraction = 0.999"):
        load_task(task(tmp_path, "mnist", validation_fraction=0.999))


def test_subsets_are_stratified_and_nested(tmp_path: Path) -> None:
    WRITERS["mnist"](tmp_path)
    small = load_task(task(tmp_path, "mnist", train_samples=30, test_samples=20))
    large = load_task(task(tmp_path, "mnist", train_samples=60))
    assert small.train.labels.bincount().tolist() == [3] * 10
    assert small.test.labels.bincount().tolist() == [2] * 10
    assert set(hashes(small.train.inputs)) < set(hashes(large.train.inputs))
    assert len(small.validation) == 20


def test_test_samples_count_in_the_measured_split(tmp_path: Path) -> None:
    WRITERS["mnist"](tmp_path)
    splits = load_task(task(tmp_path, "mnist", eval_split="validation", test_samples=10))
    assert (len(splits.validation), len(splits.test)) == (10, TEST)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train_samples": 181}, r"task.train_samples = 181: allowed: 1 to 180 \(train images of mnist"),
        ({"test_samples": 41}, r"task.test_samples = 41: allowed: 1 to 40 \(test images of mnist"),
        ({"test_samples": 21, "eval_split": "validation"}, r"task.test_samples = 21: allowed: 1 to 20 \(validation"),
        ({"imbalance_factor": 19.0}, r"task.imbalance_factor = 19.0: allowed: 1 to 18"),
    ],
)
def test_numbers_that_are_not_there_are_named(settings, message, tmp_path: Path) -> None:
    WRITERS["mnist"](tmp_path)
    with pytest.raises(ConfigError, match=message):
        load_task(task(tmp_path, "mnist", **settings))


def test_long_tail_leaves_the_test_set_balanced(tmp_path: Path, accept_fakes) -> None:
    write_cifar10(tmp_path)
    splits = load_task(task(tmp_path, "cifar10-lt", validation_fraction=0.0))
    assert splits.train.labels.bincount().tolist() == [20, 15, 11, 9, 7, 5, 4, 3, 2, 2]
    assert splits.test.labels.bincount().tolist() == [4] * 10
    same = load_task(task(tmp_path, "cifar10", validation_fraction=0.0, imbalance_factor=10.0))
    assert torch.equal(same.train.inputs, splits.train.inputs)
    half = load_task(task(tmp_path, "cifar10-lt", validation_fraction=0.0, imbalance_factor=2.0))
    assert half.train.labels.bincount()[-1] == 10


def test_the_shipped_slice_is_balanced_at_every_size() -> None:
    everything = load_task(TaskSection(train_samples=0))
    assert (len(everything.train), len(everything.validation), len(everything.test)) == (30_000, 2_000, 10_000)
    assert everything.info.class_names[9] == "ankle boot"
    assert everything.train.inputs.shape[1:] == everything.info.shape
    some = load_task(TaskSection(train_samples=1_000, test_samples=500))
    assert some.train.labels.bincount().tolist() == [100] * 10
    assert some.test.labels.bincount().tolist() == [50] * 10
    assert torch.equal(some.train.inputs, everything.train.inputs[:1_000])
    pixels = everything.train.for_model()
    assert float(pixels.mean()) == pytest.approx(everything.info.mean[0], abs=0.005)
    assert float(pixels.std()) == pytest.approx(everything.info.std[0], abs=0.005)


def test_a_missing_slice_is_a_config_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FEDCRUCIBLE_ASSETS", str(tmp_path))
    with pytest.raises(ConfigError, match=r"task.dataset = 'fashion-mnist-slice': asset .* is missing"):
        load_task(task(tmp_path, "fashion-mnist-slice"))


def test_preparing_what_ships_touches_nothing(tmp_path: Path) -> None:
    assert prepare("fashion-mnist-slice", str(tmp_path / "new")) == tmp_path / "new"
    assert not (tmp_path / "new").exists()


def test_prepare_fetches_what_is_absent_and_nothing_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The network is replaced by a folder; torchvision decides what it needs."""
    import torchvision.datasets as vision

    served = tmp_path / "served"
    write_mnist_like(served, "MNIST")
    fetched = []

    def fetch(url, download_root, filename, **_) -> None:
        fetched.append(filename)
        name = filename.removesuffix(".gz")
        shutil.copy(served / "MNIST" / "raw" / name, Path(download_root) / name)

    monkeypatch.setattr(vision.mnist, "download_and_extract_archive", fetch)
    for _ in range(2):
        root = prepare("mnist", str(tmp_path / "data"))
    assert sorted(fetched) == sorted({name for name, _ in vision.MNIST.resources})
    assert len(load_task(task(root, "mnist")).test) == TEST


class TestHub:
    """``hf:org/name``, against small data sets in the hub library's own format."""

    @pytest.fixture(autouse=True)
    def _library(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FLWR_TELEMETRY_ENABLED", "0")
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        pytest.importorskip("flwr_datasets")

    @staticmethod
    def splits(mode="RGB", names=("image", "label"), sizes=((8, 8),), parts=(("train", 20), ("test", 10))):
        import datasets

        features = datasets.Features(
            {names[0]: datasets.Image(), names[1]: datasets.ClassLabel(names=["tabby_cat", "dog"])}
        )

        def rows(count):
            return {
                names[0]: [
                    Image.new(mode, sizes[i % len(sizes)], 7 * i if mode == "L" else (i, 0, 9)) for i in range(count)
                ],
                names[1]: [i % 2 for i in range(count)],
            }

        return datasets.DatasetDict(
            {split: datasets.Dataset.from_dict(rows(count), features=features) for split, count in parts}
        )

    def test_a_saved_copy_is_read(self, tmp_path: Path) -> None:
        self.splits().save_to_disk(str(tmp_path / "hf" / "some--set"))
        splits = load_task(task(tmp_path, "hf:some/set", validation_fraction=0.2))
        assert splits.info.name == "hf:some/set"
        assert splits.info.class_names == ("tabby cat", "dog")
        assert splits.info.shape == (3, 8, 8)
        assert splits.info.mean == (0.5, 0.5, 0.5)
        assert (len(splits.train), len(splits.validation), len(splits.test)) == (16, 4, 10)
        assert splits.test.inputs[:, 0, 0, 0].tolist() == list(range(10))
        assert splits.test.inputs[:, 2].unique().tolist() == [9]
        assert splits.test.labels.tolist() == [i % 2 for i in range(10)]

    def test_grey_images_other_columns_and_a_shipped_validation_split(self, tmp_path: Path) -> None:
        saved = self.splits("L", ("img", "fine_label"), parts=(("train", 6), ("validation", 4), ("test", 2)))
        saved.save_to_disk(str(tmp_path / "hf" / "ylecun--mnist"))
        splits = load_task(task(tmp_path, "hf:ylecun/mnist"))
        assert splits.info.shape == (1, 8, 8)
        assert splits.info.mean == (0.1307,)
        assert (len(splits.train), len(splits.validation), len(splits.test)) == (6, 4, 2)
        assert splits.train.inputs[:, 0, 0, 0].tolist() == [7 * i for i in range(6)]

    def test_prepare_saves_what_flower_datasets_loads(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        import datasets

        asked = []

        def load_dataset(path, **_):
            asked.append(path)
            return self.splits()

        monkeypatch.setattr(datasets, "load_dataset", load_dataset)
        for _ in range(2):
            prepare("hf:some/set", str(tmp_path))
        assert asked == ["some/set"]
        assert len(load_task(task(tmp_path, "hf:some/set")).test) == 10

    def test_absent_and_unusable_sets_are_named(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"task.dataset = 'hf:no/where': .*`fedcrucible prepare hf:no/where`"):
            load_task(task(tmp_path, "hf:no/where"))
        self.splits(sizes=((8, 8), (9, 8))).save_to_disk(str(tmp_path / "hf" / "uneven"))
        with pytest.raises(ConfigError, match="needs images of one size"):
            load_task(task(tmp_path, "hf:uneven"))
        self.splits(parts=(("first", 4), ("second", 4))).save_to_disk(str(tmp_path / "hf" / "half"))
        with pytest.raises(ConfigError, match="needs a split train, has first, second"):
            load_task(task(tmp_path, "hf:half"))

    @pytest.mark.parametrize("name", ["hf", "hf:", "hf:..", "hf:../up", "hf:a/b/c"])
    def test_names_that_name_nothing_are_refused(self, name, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"name the data set, e.g. hf:uoft-cs/cifar10"):
            load_task(task(tmp_path, name))
