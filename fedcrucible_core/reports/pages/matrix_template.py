"""The page of a matrix as a Jinja template."""

MATRIX = """{% extends "base" %}
{% from "macros" import chart, pairs, samples %}
{% macro heat(map, columns, system_axis) %}
<div><h4>{{ map.name }} <small>{{ map.scale }}</small></h4>
<div class="scroll"><table class="heat" style="--tone: var(--{{ map.tone }})">
<thead><tr><th scope="col">{{ system_axis }}</th>
{% for column in columns %}<th scope="col">{{ column.name }}{% if column.weak %}
<br><span class="badge warn">weak attack</span>{% endif %}</th>{% endfor %}</tr></thead>
<tbody>{% for system, cells in map.rows %}
<tr><th scope="row">{{ system }}</th>
{% for cell in cells %}<td style="--mix: {{ cell.mix }}">
{% if cell.best %}<strong title="best of its column">{{ cell.text }}</strong>{% else %}<b>{{ cell.text }}</b>{% endif %}
{% if cell.half %}<div class="under">{{ cell.half }}</div>{% endif %}
{% if cell.flaw %}<div class="under"><span class="badge warn">{{ cell.flaw }}</span></div>{% endif %}
{% if cell.paper %}<div class="under">{{ cell.paper }}</div>{% endif %}</td>
{% endfor %}</tr>
{% endfor %}</tbody></table></div></div>
{% endmacro %}
{% block body %}
<header class="top">
<p class="brand">FedCrucible comparison</p>
<h1>{{ title }}</h1>
<p class="facts">{{ page.facts }}</p>
{% if verdict %}<p class="verdict">{{ verdict }}</p>{% endif %}
{% for text in page.warnings %}<p class="warning">{{ text }}</p>{% endfor %}
<nav class="contents" aria-label="Sections"><a href="#results">Results</a>
<a href="#numbers">All numbers</a>
{% if synthetic %}<a href="#synthetic">Synthetic data</a>{% endif %}
<a href="#tradeoff">Trade-off</a>
{% if page.sweep %}<a href="#sweep">By {{ page.sweep }}</a>{% endif %}
<a href="#curves">Curves</a><a href="#roc">Detection curves</a>
{% for table in page.tables %}<a href="#{{ table.anchor }}">{{ table.title }}</a>{% endfor %}
<a href="#runs">Runs</a>
<a href="#settings">Settings</a><a href="#origin">Where the numbers come from</a></nav>
</header>
<main id="content">
<section id="results"><h2>Results</h2>
<p class="note">{{ page.legend }}</p>
{% for block in heats %}
{% if block.title %}<h3>{{ block.title }}</h3>{% endif %}
<div class="heats{% if block.wide %} wide{% endif %}">
{% for map in block.maps %}{{ heat(map, block.columns, page.system_axis) }}{% endfor %}</div>
{% else %}<p class="empty">No cell has any number yet.</p>{% endfor %}
{% if page.remarks %}<ul class="note">{% for text in page.remarks %}<li>{{ text }}</li>{% endfor %}</ul>{% endif %}
{% if page.notes %}<h3>What to know of single runs</h3>
<ul class="note">{% for text in page.notes %}<li>{{ text }}</li>{% endfor %}</ul>{% endif %}
{% if page.missing %}<h3>Cells without numbers</h3>
<ul class="note">{% for text in page.missing %}<li>{{ text }}</li>{% endfor %}</ul>{% endif %}
</section>

<section id="numbers"><h2>All numbers</h2>
<p class="note">Mean ± standard deviation over seeds where there are several, below it the Student-t 95 % interval of
the mean. Seeds lead to the runs' own pages where these are drawn.</p>
<div class="scroll"><table>
<thead><tr><th scope="col">{{ page.system_axis }}</th><th scope="col">faced</th><th scope="col">seeds</th>
{% for head in headings %}<th scope="col" class="number">{{ head }}</th>{% endfor %}
<th scope="col">needs</th></tr></thead>
<tbody>{% for g in numbers %}
<tr><th scope="row">{{ g.label }}</th><td>{{ g.place }}{% if g.weak %} <span class="badge warn">weak attack</span>
{% endif %}{% if g.badge %} <span class="badge warn">{{ g.badge }}</span>
{% endif %}</td>
<td>{% for link in g.links %}{% if link.address %}<a href="{{ link.address }}">{{ link.seed }}</a>
{% else %}{{ link.seed }}{% endif %} {% endfor %}</td>
{% for cell in g.cells %}<td class="number">{{ cell.mean }}{% if cell.interval %}
<div class="under">{{ cell.interval }}</div>{% endif %}</td>{% endfor %}
<td class="text">{{ g.needs }}</td></tr>
{% endfor %}</tbody></table></div>
</section>

{% if synthetic %}<section id="synthetic"><h2>The server's synthetic data</h2>
{% for strip in synthetic %}<h3>{{ strip.title }}</h3>
<p class="note">{{ strip.note }}</p>
{{ samples(strip.samples) }}
{% endfor %}</section>

{% endif %}
<section id="tradeoff"><h2>What each defence costs and buys</h2>
{% for name, svg in tradeoffs if svg %}{% if name %}<h3>{{ name }}</h3>{% endif %}
{{ chart(svg, "Best is the upper left: clean accuracy kept, attack stopped. Bars show the standard deviation over "
  "seeds where there are several.") }}
{% else %}<p class="empty">No run has both MA and ASR, or there are too many rows to draw, so there is no trade-off to
show.</p>{% endfor %}
</section>

{% if page.sweep %}<section id="sweep"><h2>By {{ page.sweep }}</h2>
{{ chart(swept, "", "Too few values to draw.") }}</section>

{% endif %}
<section id="curves"><h2>Curves</h2>
<p class="note">Lines: means over seeds. Bands: from the lowest to the highest seed.</p>
{% for name, svg in curves %}{% if name %}<h3>{{ name }}</h3>{% endif %}
{{ chart(svg, "", "No round was evaluated.") }}
{% else %}<p class="empty">No run was evaluated, so there are no curves.</p>{% endfor %}
</section>

<section id="roc"><h2>Detection curves</h2>
<p class="note">How well a rule's own scores tell malicious from honest clients, whatever threshold it uses itself: TPR
and FPR as ever more of each round's most suspicious clients are called malicious. Dotted: chance. A rule without scores
has no curve.</p>
{% for name, svg in rocs if svg %}{% if name %}<h3>{{ name }}</h3>{% endif %}{{ chart(svg) }}
{% else %}<p class="empty">No rule reported scores of clients of both kinds.</p>{% endfor %}
</section>

{% for table in page.tables %}
<section id="{{ table.anchor }}"><h2>{{ table.title }}</h2>
<p class="note">{{ table.note }}</p>
<div class="scroll"><table>
{% set keys = table.grid.keys %}
<thead><tr>{% for head in table.grid.heads %}<th scope="col"{% if loop.index0 >= keys %} class="number"{% endif %}>
{{ head }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in table.grid.rows %}<tr>{% for value in row %}
{% if loop.index0 < keys %}<th scope="row">{{ value }}</th>
{% else %}<td class="number">{{ value }}</td>{% endif %}
{% endfor %}</tr>
{% endfor %}</tbody></table></div>
</section>
{% endfor %}

<section id="runs"><h2>Runs</h2>
<div class="scroll"><table>
<thead><tr><th scope="col">{{ page.system_axis }}</th><th scope="col">faced</th><th scope="col" class="number">seed</th>
<th scope="col" class="number">MA (%)</th><th scope="col" class="number">ASR (%)</th>
<th scope="col">final parameters</th><th scope="col">folder</th><th scope="col">notes</th></tr></thead>
<tbody>{% for r in runs %}
<tr><th scope="row">{{ r.label }}</th><td>{{ r.place }}</td><td class="number">{{ r.seed }}</td>
<td class="number">{{ r.ma }}</td><td class="number">{{ r.asr }}</td><td class="mono">{{ r.digest }}</td>
<td class="text">{% if r.address %}<a href="{{ r.address }}">{{ r.folder }}</a>{% else %}{{ r.folder }}{% endif %}</td>
<td class="text">{{ r.notes }}</td></tr>{% endfor %}</tbody></table></div>
</section>

<section id="settings"><h2>Settings</h2>
{% for name, rows in page.settings if rows %}
<h3>{{ name }}</h3>
<div class="scroll"><table><tbody>{% for key, value, reason in rows %}
<tr><th scope="row" class="mono">{{ key }}</th><td class="text mono">{{ value }}</td>
<td class="text">{{ reason }}</td></tr>{% endfor %}</tbody></table></div>
{% endfor %}
</section>

<section id="origin"><h2>Where the numbers come from</h2>{{ pairs(page.origin) }}</section>
</main>
<footer><p>Made from {{ runs|length }} run records alone.</p></footer>
{% endblock %}
"""
