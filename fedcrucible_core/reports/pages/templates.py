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

{% macro samples(shown) %}
<div class="pictures"><div class="strip noted">
{% for one in shown %}<figure{% if not one.source %} class="text"{% endif %}>
{% if one.source %}<img src="{{ one.source }}" alt="{{ one.alt }}">{% else %}<blockquote>{{ one.text }}</blockquote>
{% endif %}<figcaption>{{ one.label }}{% for badge in one.badges %}
<br><span class="badge{% if badge == "poisoned" %} warn{% endif %}">{{ badge }}</span>{% endfor %}</figcaption></figure>
{% endfor %}</div></div>
{% endmacro %}

{% macro site_map(map, columns) %}
<h3>{{ map.title }} <small>{{ map.scale }}</small></h3>
<div class="scroll fit"><table class="heat sites" style="--tone: var(--{{ map.tone }})">
<thead><tr><th scope="col">site</th>{% for round in columns %}<th scope="col">{{ round }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in map.rows %}
<tr><th scope="row">{{ row.site }}{% if row.name %} <span class="name">{{ row.name }}</span>{% endif %}
{% if row.malicious %} <span class="badge warn">malicious</span>{% endif %}</th>
{% for cell in row.cells %}<td style="--mix: {{ cell.mix }}"{% if cell.kind %} class="{{ cell.kind }}"{% endif %}>
{{ cell.text }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table></div>
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
{% from "macros" import chart, card, pairs, samples, settings, site_map %}
{% block body %}
{% set split_section %}
{% if split_rows %}<section id="split"><h2>The suspicious set, split by {{ splitter }}</h2>
{{ chart(split_map, split_caption, "No map: it takes a rank of the guide and one of models for each sample.") }}
<p class="note">split.csv in the record's folder has every row.{% if not split_truth %} Which {{ run.inputs }} are
poisoned nobody can say here: triggered ones are suspects.{% endif %}</p>
<div class="scroll"><table>
<thead><tr><th scope="col">part</th><th scope="col" class="number">{{ run.inputs }}</th>
{% if split_truth %}<th scope="col" class="number">of them poisoned</th>{% endif %}
<th scope="col" class="number">median guide rank</th><th scope="col" class="number">median model rank</th></tr></thead>
<tbody>{% for row in split_rows %}
<tr><th scope="row">{{ row.part }}</th><td class="number">{{ row.count }}</td>
{% if split_truth %}<td class="number">{{ row.poisoned }}</td>{% endif %}
<td class="number">{{ row.guide }}</td><td class="number">{{ row.model }}</td></tr>
{% endfor %}</tbody></table></div>
{% if suspects %}<h3>Most suspicious</h3>
{{ samples(suspects) }}
<details><summary>The same in figures</summary><div class="scroll"><table>
<thead><tr><th scope="col">sample</th><th scope="col">given class</th>
{% for head in ("guide (nats)", "models (nats)", "guide rank", "model rank") %}
<th scope="col" class="number">{{ head }}</th>
{% endfor %}{% if split_truth %}<th scope="col">truth</th>{% endif %}</tr></thead>
<tbody>{% for row in suspect_rows %}<tr><th scope="row" class="mono">{{ row[0] }}</th><td>{{ row[1] }}</td>
{% for value in row[2:6] %}<td class="number">{{ value }}</td>{% endfor %}
{% if split_truth %}<td>{{ row[6] }}</td>{% endif %}</tr>
{% endfor %}</tbody></table></div></details>{% endif %}
</section>

{% endif %}
{% endset %}
<header class="top">
<p class="brand">FedCrucible run report</p>
<h1>{{ heading[0] }} <span class="versus">{{ heading[1] }}</span> {{ heading[2] }}</h1>
<p class="facts">{{ subtitle }}</p>
<p class="verdict">{{ verdict }}</p>
{% for text in warnings %}<p class="warning">{{ text }}</p>{% endfor %}
<nav class="contents" aria-label="Sections">
<a href="#curves">Curves</a><a href="#detection">Detection</a><a href="#confusion">Confusion</a>
<a href="#examples">{{ run.inputs|capitalize }}</a>
{% if synthetic or synthetic_rows %}<a href="#synthetic">Synthetic data</a>{% endif %}
{% if split_rows %}<a href="#split">Split</a>{% endif %}
{% if personal_pairs or sites %}<a href="#personal">Clients</a>{% endif %}
<a href="#features">Features</a><a href="#time">Time and cost</a>
<a href="#diagnostics">Diagnostics</a><a href="#rounds">Rounds</a><a href="#dropped">Dropped replies</a>
<a href="#configuration">Configuration</a><a href="#environment">Environment</a>
</nav>
</header>
<main id="content">
<div class="cards">
{% for c in cards %}{{ card(c.label, c.value, c.unit, c.lines, c.tone) }}{% endfor %}
</div>

{% if not run.tested %}{{ split_section }}{% endif %}
<section id="curves"><h2>{{ curves_title }}</h2>
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

<section id="examples"><h2>Example {{ run.inputs }}</h2>
{% for row in pictures %}
<div class="pictures"><h3>{{ row.legend }}</h3><div class="strip">
{% for picture in row.pictures %}<figure><img src="{{ picture.source }}" alt="{{ picture.alt }}">
{% if picture.caption %}<figcaption>{{ picture.caption }}</figcaption>{% endif %}</figure>{% endfor %}
</div></div>
{% endfor %}
{% for row in texts %}
<div class="pictures"><h3>{{ row.legend }}</h3><div class="scroll"><table><tbody>
{% for text in row.texts %}<tr>{% if text.caption %}<th scope="row">{{ text.caption }}</th>{% endif %}<td class="text">
{% for piece in text.pieces %}{% if piece.added %}<mark>{{ piece.words }}</mark>{% else %}{{ piece.words }}{% endif %}
{{ " " }}{% endfor %}</td></tr>
{% endfor %}</tbody></table></div></div>
{% endfor %}
{% if not pictures and not texts %}<p class="empty">No example {{ run.inputs }} were saved with this run.</p>{% endif %}
</section>

{% if synthetic or synthetic_rows %}<section id="synthetic"><h2>The server's synthetic data</h2>
{% if synthetic_rows %}{{ pairs(synthetic_rows) }}{% endif %}
{% if synthetic %}<p class="note">{{ synthetic_note }}</p>
{{ samples(synthetic) }}{% endif %}
</section>

{% endif %}
{% if run.tested %}{{ split_section }}{% endif %}
{% if personal_pairs or sites %}<section id="personal"><h2>What clients measure</h2>
{% if sites %}<p class="note">{{ sites.note }}</p>
{% for map in sites.maps %}{{ site_map(map, sites.columns) }}{% endfor %}
{% if sites.legend %}<dl class="legend">{% for mark, meaning in sites.legend %}
<dt>{{ mark }}</dt><dd>{{ meaning }}</dd>{% endfor %}</dl>{% endif %}{% endif %}
{% if personal_pairs %}
{{ chart(personal) }}
{{ pairs(personal_pairs) }}
<h3>In the last round</h3>
<p class="note">{{ personal_rows[1] }}</p>
<div class="scroll"><table>
<thead><tr><th scope="col">client</th><th scope="col" class="number">examples</th>
<th scope="col" class="number">MA (%)</th><th scope="col" class="number">ASR (%)</th></tr></thead>
<tbody>{% for row in personal_rows[0] %}
<tr><th scope="row">{{ row.client }}{% if row.malicious %} <span class="badge warn">malicious</span>{% endif %}
{% if row.upstream %} <span class="badge">poisoned upstream</span>{% endif %}</th>
<td class="number">{{ row.examples }}</td><td class="number">{{ row.ma }}</td><td class="number">{{ row.asr }}</td></tr>
{% endfor %}</tbody></table></div>
{% endif %}</section>

{% endif %}
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
<thead><tr><th scope="col" class="number">round</th>
{% for head in round_headings %}<th scope="col" class="number">{{ head }}</th>{% endfor %}
<th scope="col" class="number">clients</th><th scope="col" class="number">malicious</th>
<th scope="col" class="number">rejected</th><th scope="col" class="number">dropped</th>
<th scope="col" class="number">seconds</th><th scope="col">notes</th></tr></thead>
<tbody>{% for r in rounds %}
<tr{% if r.attack_active %} class="attack"{% endif %}><th scope="row" class="number">{{ r.round }}</th>
{% for field in round_fields %}<td class="number">{{ r[field]|rate }}</td>{% endfor %}
<td class="number">{{ r.participants|length }}</td>
<td class="number">{{ r.malicious|length }}</td><td class="number">{{ r.rejected|length }}</td>
<td class="number">{{ r.dropped|length }}</td><td class="number">{{ "%.1f"|format(r.seconds.values()|sum) }}</td>
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
