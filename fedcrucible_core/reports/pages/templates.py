"""The pages as Jinja templates; values are escaped unless a chart hands over markup."""

BASE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="referrer" content="no-referrer">
<title>{{ title }}</title>
<style>{{ css }}</style>
</head>
<body>
<a class="skip" href="#content">Skip to content</a>
{% block body %}{% endblock %}
</body>
</html>
"""

MACROS = """
{% macro chart(svg, caption="", missing="") %}
{% if svg %}<figure>{{ svg }}{% if caption %}<figcaption>{{ caption }}</figcaption>{% endif %}</figure>
{% else %}<p class="empty">{{ missing }}</p>{% endif %}
{% endmacro %}

{% macro card(label, value, unit, lines, tone) %}
<div class="card" style="--tone: var(--{{ tone }})">
<div class="label">{{ label }}</div>
<div class="value">{{ value }}{% if unit %} <small>{{ unit }}</small>{% endif %}</div>
{% for line in lines if line %}<div class="under">{{ line }}</div>{% endfor %}
</div>
{% endmacro %}

{% macro pairs(rows) %}
<dl>{% for key, value in rows %}<dt>{{ key }}</dt><dd>{{ value }}</dd>{% endfor %}</dl>
{% endmacro %}

{% macro settings(rows, changed) %}
<div class="scroll"><table>
<thead><tr><th scope="col">key</th><th scope="col">value</th>{% if changed %}<th scope="col">default</th>{% endif %}
</tr></thead>
<tbody>{% for row in rows %}
<tr{% if changed %} class="changed"{% endif %}><th scope="row" class="mono">{{ row.key }}</th>
<td class="text mono">{{ row.value }}</td>{% if changed %}<td class="text mono">{{ row.default }}</td>{% endif %}</tr>
{% endfor %}</tbody></table></div>
{% endmacro %}
"""

REPORT = """{% extends "base" %}
{% from "macros" import chart, card, pairs, settings %}
{% block body %}
<header class="top">
<p class="brand">FedCrucible run report</p>
<h1>{{ run.strategy }} <span class="versus">under</span> {{ attack_title }}</h1>
<p class="facts">{{ subtitle }}</p>
<p class="verdict">{{ verdict }}</p>
{% for text in warnings %}<p class="warning">{{ text }}</p>{% endfor %}
<nav class="contents" aria-label="Sections">
<a href="#curves">Curves</a><a href="#detection">Detection</a><a href="#confusion">Confusion</a>
<a href="#examples">Images</a><a href="#features">Features</a><a href="#time">Time and cost</a>
<a href="#diagnostics">Diagnostics</a><a href="#rounds">Rounds</a><a href="#dropped">Dropped replies</a>
<a href="#configuration">Configuration</a><a href="#environment">Environment</a>
</nav>
</header>
<main id="content">
<div class="cards">
{% for c in cards %}{{ card(c.label, c.value, c.unit, c.lines, c.tone) }}{% endfor %}
</div>

<section id="curves"><h2>Accuracy and attack success by round</h2>
<p class="note">{{ curves_note }}</p>
{{ chart(curves, curves_caption, "No round was evaluated, so there is no curve.") }}
<h3>Recall by class</h3>
{{ chart(recall, "A defence can give up whole classes while MA looks fine. The target class is orange.",
  "Per-class recall was not recorded, or there are too many classes to show.") }}
</section>

<section id="detection"><h2>Who was accepted, who was rejected</h2>
{% if detection_rows %}{{ pairs(detection_rows) }}{% endif %}
{{ chart(detection, detection_caption, "No client reply was judged by an aggregation rule, so there is nothing to "
  "detect.") }}
</section>

<section id="confusion"><h2>{{ confusion_title }}</h2>
{{ chart(confusion, confusion_caption, "No confusion matrix: there was no attack, an untargeted one, or attack success "
  "was not evaluated.") }}
</section>

<section id="examples"><h2>Example images</h2>
{% for row in pictures %}
<div class="pictures"><h3>{{ row.legend }}</h3><div class="strip">
{% for picture in row.pictures %}<figure><img src="{{ picture.source }}" alt="{{ picture.alt }}">
{% if picture.caption %}<figcaption>{{ picture.caption }}</figcaption>{% endif %}</figure>{% endfor %}
</div></div>
{% else %}<p class="empty">No example images were saved with this run.</p>{% endfor %}
</section>

<section id="features"><h2>Test features in the plane</h2>
{{ chart(tsne, tsne_caption, tsne_missing) }}
{% if tsne and tsne_missing %}<p class="empty">{{ tsne_missing }}</p>{% endif %}
</section>

<section id="time"><h2>Time and cost</h2>
<div class="columns">{{ pairs(cost_rows) }}{% if phase_rows %}{{ pairs(phase_rows) }}{% endif %}</div>
{{ chart(seconds, "Wall-clock seconds; training includes waiting for the slowest client.",
  "No seconds were recorded.") }}
</section>

<section id="diagnostics"><h2>Diagnostics</h2>
{% if facts %}<h3>Of the round</h3>{{ chart(facts) }}{% endif %}
{% if clients %}<h3>Of each client</h3>{{ chart(clients) }}{% endif %}
{% if not facts and not clients %}<p class="empty">The aggregation rule and the purifier reported no diagnostics.</p>
{% endif %}
</section>

<section id="rounds"><h2>Rounds</h2>
{% if rounds %}
<p class="note">{{ rounds_note }}</p>
<div class="scroll"><table>
<thead><tr><th scope="col" class="number">round</th><th scope="col" class="number">MA (%)</th>
<th scope="col" class="number">ASR (%)</th><th scope="col" class="number">base rate (%)</th>
<th scope="col" class="number">ASR of correct (%)</th><th scope="col" class="number">robust acc. (%)</th>
<th scope="col" class="number">clients</th><th scope="col" class="number">malicious</th>
<th scope="col" class="number">rejected</th><th scope="col" class="number">dropped</th>
<th scope="col" class="number">TPR (%)</th><th scope="col" class="number">FPR (%)</th>
<th scope="col" class="number">seconds</th><th scope="col">notes</th></tr></thead>
<tbody>{% for r in rounds %}
<tr{% if r.attack_active %} class="attack"{% endif %}><th scope="row" class="number">{{ r.round }}</th>
<td class="number">{{ r.ma_percent|rate }}</td><td class="number">{{ r.asr_percent|rate }}</td>
<td class="number">{{ r.base_rate_percent|rate }}</td><td class="number">{{ r.asr_correct_percent|rate }}</td>
<td class="number">{{ r.robust_accuracy_percent|rate }}</td><td class="number">{{ r.participants|length }}</td>
<td class="number">{{ r.malicious|length }}</td><td class="number">{{ r.rejected|length }}</td>
<td class="number">{{ r.dropped|length }}</td><td class="number">{{ r.tpr_percent|rate }}</td>
<td class="number">{{ r.fpr_percent|rate }}</td><td class="number">{{ "%.1f"|format(r.seconds.values()|sum) }}</td>
<td class="text">{{ r.notes|join("; ") }}</td></tr>
{% endfor %}</tbody></table></div>
{% else %}<p class="empty">No round was recorded.</p>{% endif %}
</section>

<section id="dropped"><h2>Dropped replies</h2>
{% if dropped %}
<p class="note">Replies that never reached the aggregation rule.</p>
<div class="scroll"><table>
<thead><tr><th scope="col">client</th><th scope="col" class="number">replies</th><th scope="col">rounds</th>
<th scope="col">cause</th></tr></thead>
<tbody>{% for row in dropped %}
<tr><th scope="row">{{ row.client }}</th><td class="number">{{ row.count }}</td><td>{{ row.rounds }}</td>
<td class="text mono"><pre>{{ row.cause }}</pre></td></tr>
{% endfor %}</tbody></table></div>
{% if dropped_more %}<p class="note">and {{ dropped_more }} more rows in metrics.jsonl.</p>{% endif %}
{% else %}<p class="empty">Every reply was well-formed and arrived in time.</p>{% endif %}
</section>

<section id="configuration"><h2>Configuration</h2>
{% if changed %}<p class="note">Set differently from the default:</p>{{ settings(changed, true) }}
{% elif unchanged %}<p class="note">Every setting has its default value, or the defaults were not recorded.</p>
{% else %}<p class="empty">No configuration was recorded.</p>{% endif %}
{% if unchanged %}<details><summary>All {{ unchanged|length }} other settings</summary>{{ settings(unchanged, false) }}
</details>{% endif %}
</section>

<section id="environment"><h2>Environment</h2>
{% if environment %}{{ pairs(environment) }}{% else %}<p class="empty">No environment was recorded.</p>{% endif %}
</section>
</main>
<footer><p>Made from the record folder alone: {{ folder }}</p></footer>
{% endblock %}
"""

COMPARISON = """{% extends "base" %}
{% from "macros" import chart, pairs %}
{% block body %}
<header class="top">
<p class="brand">FedCrucible comparison</p>
<h1>{{ title }}</h1>
<p class="facts">{{ subtitle }}</p>
{% if verdict %}<p class="verdict">{{ verdict }}</p>{% endif %}
{% for text in warnings %}<p class="warning">{{ text }}</p>{% endfor %}
</header>
<main id="content">
<section id="table"><h2>Results</h2>
<p class="note">{{ table_note }}</p>
<div class="scroll"><table>
<thead><tr><th scope="col">strategy</th><th scope="col">attack</th>
{% if sweep %}<th scope="col" class="number">{{ sweep }}</th>{% endif %}
<th scope="col">seeds</th><th scope="col" class="number">MA (%)</th>
<th scope="col" class="number">ASR (%)</th><th scope="col" class="number">base rate (%)</th>
<th scope="col" class="number">ASR, mean of last rounds (%)</th><th scope="col" class="number">TPR (%)</th>
<th scope="col" class="number">FPR (%)</th><th scope="col" class="number">seconds</th>
<th scope="col">needs</th></tr></thead>
<tbody>{% for g in groups %}
<tr><th scope="row">{{ g.label }}</th><td>{{ g.attack }}{% if g.weak %} <span class="badge warn">weak attack</span>
{% endif %}{% if g.flaw %} <span class="badge warn">{{ g.flaw }}</span>
{% endif %}</td>{% if sweep %}<td class="number">{{ g.sweep_value }}</td>{% endif %}
<td>{% for link in g.links %}{% if link.address %}<a href="{{ link.address }}">{{ link.seed }}</a>
{% else %}{{ link.seed }}{% endif %} {% endfor %}</td>
{% for cell in g.cells %}<td class="number">{{ cell.mean }}{% if cell.interval %}
<div class="under">{{ cell.interval }}</div>{% endif %}</td>{% endfor %}
<td class="number">{{ g.seconds }}</td><td class="text">{{ g.needs }}</td></tr>
{% endfor %}</tbody></table></div>
</section>
<section id="tradeoff"><h2>What each defence costs and buys</h2>
{{ chart(tradeoff, "Best is the upper left: clean accuracy kept, attack stopped. Bars show the standard deviation over "
  "seeds where there are several.", "No run has both MA and ASR, so there is no trade-off to show.") }}
</section>
{% if sweep %}<section id="sweep"><h2>By {{ sweep }}</h2>
{{ chart(swept, "", "Too few values to draw.") }}</section>{% endif %}
<section id="curves"><h2>Curves</h2>
{{ chart(curves, "Means over seeds of the same round.", "No run was evaluated, so there are no curves.") }}
</section>
<section id="runs"><h2>Runs</h2>
<div class="scroll"><table>
<thead><tr><th scope="col">strategy</th><th scope="col">attack</th><th scope="col" class="number">seed</th>
<th scope="col" class="number">MA (%)</th><th scope="col" class="number">ASR (%)</th>
<th scope="col">final parameters</th><th scope="col">folder</th><th scope="col">notes</th></tr></thead>
<tbody>{% for r in runs %}
<tr><th scope="row">{{ r.label }}</th><td>{{ r.attack }}</td><td class="number">{{ r.seed }}</td>
<td class="number">{{ r.ma }}</td><td class="number">{{ r.asr }}</td><td class="mono">{{ r.digest }}</td>
<td class="text">{% if r.address %}<a href="{{ r.address }}">{{ r.folder }}</a>{% else %}{{ r.folder }}{% endif %}</td>
<td class="text">{{ r.notes }}</td></tr>{% endfor %}</tbody></table></div>
</section>
</main>
<footer><p>Made from {{ runs|length }} record folders alone.</p></footer>
{% endblock %}
"""
