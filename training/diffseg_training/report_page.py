"""The page that an evaluation report is poured into."""

GENERATOR = "diffseg evaluate"

STYLE = """
:root { --ink: #1f2933; --soft: #52606d; --line: #e4e7eb; --blue: #0072B2;
  --wash: #e3f0f8; }
* { box-sizing: border-box; }
body { margin: 0; background: #f5f7fa; color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 72rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
header { border-top: 4px solid var(--blue); padding-top: 1.25rem; }
h1 { margin: 0 0 1rem; font-size: 1.8rem; line-height: 1.2; }
h2 { margin: 0 0 .5rem; font-size: 1.2rem; }
h3 { margin: 0 0 .5rem; font-size: 1rem; text-align: center; }
p { margin: 0 0 1rem; color: var(--soft); max-width: 50rem; }
p b { color: var(--ink); }
section, details { background: #fff; border: 1px solid var(--line);
  border-radius: 8px; padding: 1.25rem; margin-top: 1.25rem; }
dl { display: flex; flex-wrap: wrap; gap: .5rem 1.75rem; margin: 0; }
dt { color: var(--soft); font-size: .75rem; }
dd { margin: 0; font-variant-numeric: tabular-nums; }
.figures { display: grid; gap: .75rem; margin-top: 1.25rem;
  grid-template-columns: repeat(auto-fit, minmax(10.5rem, 1fr)); }
.figures div { display: flex; flex-direction: column; background: #fff;
  border: 1px solid var(--line); border-radius: 8px; padding: 1rem; }
.figures span { color: var(--soft); font-size: .8125rem; line-height: 1.3; flex: 1; }
.figures b { font-size: 1.9rem; line-height: 1.3;
  font-variant-numeric: tabular-nums; }
.figures small { color: var(--soft); font-variant-numeric: tabular-nums; }
.pair { display: grid; gap: 1.25rem; margin-bottom: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); }
.abreast { gap: 1.25rem; margin: 0; }
img { display: block; max-width: 100%; height: auto; margin: 0 auto; }
.pair img { max-height: 26rem; width: auto; }
.wide { overflow: auto; max-height: 36rem; }
.wide + .wide { margin-top: 1.25rem; }
table { border-collapse: collapse; width: 100%; font-size: .9375rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .6rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
th { white-space: normal; color: var(--soft); font-weight: 600; font-size: .875rem;
  vertical-align: bottom; position: sticky; top: 0; background: #fff; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
.sortable td:nth-child(2), .sortable th:nth-child(2) { text-align: left; }
tbody tr:last-child td { border-bottom: 0; }
.sortable tbody tr:hover td { background-color: #f5f7fa; }
th button { all: unset; cursor: pointer; }
th button:hover, th button:focus-visible { color: var(--blue);
  text-decoration: underline; }
th[aria-sort] button { color: var(--ink); }
th[aria-sort=ascending] button::after { content: " \\2191"; }
th[aria-sort=descending] button::after { content: " \\2193"; }
.bar { background: linear-gradient(90deg, var(--wash) calc(100% * var(--share)),
  transparent 0) no-repeat; background-clip: content-box; background-origin:
  content-box; }
figure { margin: 1.25rem 0 0; }
figcaption { color: var(--soft); margin-bottom: .25rem; }
figcaption b { color: var(--ink); margin-right: .5rem; }
summary { font-weight: 600; cursor: pointer; }
footer { margin-top: 1.5rem; color: var(--soft); font-size: .875rem; }
footer p { max-width: none; margin: 0 0 .5rem; }
@media print { body { background: #fff; } .wide { max-height: none; }
  section, figure { break-inside: avoid; } }
"""

SCRIPT = """
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.addEventListener("click", () => {
    const up = head.ariaSort !== "ascending";
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.ariaSort = up ? "ascending" : "descending";
    const key = row => {
      const cell = row.cells[column], value = cell.dataset.value;
      return value === undefined ? cell.textContent
        : value === "" ? null : Number(value);
    };
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => {
      const x = key(a), y = key(b);
      if (x === null || y === null) return (x === null) - (y === null);
      const order = typeof x === "number" ? x - y
        : x.localeCompare(y, undefined, {numeric: true});
      return up ? order : -order;
    });
    table.tBodies[0].append(...rows);
  }));
}
"""

_BODY = """
<main>
<header><h1>$title</h1><dl>$about</dl></header>
<div class="figures">$figures</div>
<section><h2>How well does it find them?</h2>
<p>Means over cases; in brackets the 95 % interval, by drawing patients anew.</p>
$table</section>
$comparison
<section><h2>Dice of every case</h2>
<p>Each dot is a case; the box spans the quartiles, the line is the median.</p>
$dice</section>
$shown
$calibration
$uncertainty
$raters
$stability
<section><h2>The same by other averages</h2>
<p>Papers average in different ways, and their numbers differ by several hundredths.
All follow from the counts of each image in metrics.json.</p>
$averages</section>
<section><h2>All cases</h2>
<p>Worst first; a click on a heading sorts by it, another turns the order round.</p>
$cases</section>
$warnings
<footer>
<p><b>Dice</b> and <b>IoU</b> are 1 where reference and proposal are both empty, 0 where
one is. <b>HD95</b>: 95th percentile of surface distances in both directions.
<b>Surface Dice</b>: share of both surfaces within 2 mm of the other; in pixels (px)
where the image has no spacing. <b>Box</b>: around proposal and reference, 5 voxels
wider. <b>ECE</b>: ten equal bins over [0, 1], the last closed. <b>AUROC</b>: chance
that a wrong voxel is more uncertain than a right one. <b>AURC</b>: mean share of wrong
voxels over all shares kept. Pictures show the middle slice, cut to the structures;
scans as a radiologist sees them, the patient's right on the left.</p>
<p>Not a medical device; not intended for clinical use.</p>
</footer>
</main>
"""

PAGE = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="generator" content="$generator">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>{STYLE}</style>
</head>
<body>{_BODY}<script>{SCRIPT}</script>
</body>
</html>
"""
