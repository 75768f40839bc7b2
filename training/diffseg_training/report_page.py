"""The page that an evaluation report is poured into."""

GENERATOR = "diffseg evaluate"

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="generator" content="$generator">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root { --ink: #1f2933; --soft: #52606d; --line: #e4e7eb; --blue: #0072B2; }
* { box-sizing: border-box; }
body { margin: 0; background: #f5f7fa; color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 66rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
header { border-top: 4px solid var(--blue); padding-top: 1.25rem; }
h1 { margin: 0 0 1rem; font-size: 1.8rem; line-height: 1.2; }
h2 { margin: 0 0 .5rem; font-size: 1.2rem; }
p { margin: 0 0 1rem; color: var(--soft); max-width: 46rem; }
section, details { background: #fff; border: 1px solid var(--line);
  border-radius: 8px; padding: 1.25rem; margin-top: 1.25rem; }
dl { display: flex; flex-wrap: wrap; gap: .5rem 1.75rem; margin: 0; }
dt { color: var(--soft); font-size: .75rem; }
dd { margin: 0; font-variant-numeric: tabular-nums; }
.figures { display: grid; gap: .75rem; margin-top: 1.25rem;
  grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); }
.figures div { background: #fff; border: 1px solid var(--line);
  border-radius: 8px; padding: 1rem; }
.figures b { font-size: 1.6rem; font-variant-numeric: tabular-nums; }
.figures small { margin-left: .6rem; color: var(--soft); }
.figures span { display: block; color: var(--soft); font-size: .875rem; }
.pair { display: grid; gap: 1.25rem;
  grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); }
.pair h2 + p { min-height: 3rem; }
img { display: block; max-width: 100%; height: auto; margin: 0 auto; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .75rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
th { white-space: normal; color: var(--soft); font-weight: 600; font-size: .875rem; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
tbody tr:last-child td { border-bottom: 0; }
figure { margin: 1.25rem 0 0; }
figcaption { color: var(--soft); margin-bottom: .25rem; }
figcaption b { color: var(--ink); margin-right: .5rem; }
summary { font-weight: 600; cursor: pointer; }
footer { margin-top: 1.5rem; color: var(--soft); font-size: .875rem; }
@media print { body { background: #fff; } section, figure { break-inside: avoid; } }
</style>
</head>
<body>
<main>
<header><h1>$title</h1><dl>$about</dl></header>
<div class="figures">$figures</div>
<section><h2>Structures</h2>
<p>Means over cases; intervals are a bootstrap over groups (patients).</p>
$table</section>
$comparison
<section><h2>Dice of every case</h2>
<p>Each dot is a case; the box spans the quartiles.</p>
$dice</section>
<div class="pair">
<section><h2>Does it mean what it says?</h2>
<p>On the dashed line, 80 % confidence is right 80 % of the time.</p>
$reliability</section>
<section><h2>Does it know where it errs?</h2>
<p>Useful uncertainty rises where the proposal is wrong.</p>
$uncertainty</section>
</div>
<section><h2>Worst cases</h2>
<p>Middle slice of the cases with the lowest Dice. Scans as a radiologist sees
them: the patient's right on the left.</p>
$worst</section>
<details><summary>All cases, worst first</summary>$cases</details>
$warnings
<footer>Dice is 1 where reference and proposal are both empty, 0 where one is.
ECE: ten equal bins of top-label confidence over the native grid of all cases.
HD95: 95th percentile of surface distances in both directions.
NSD 2 mm: share of both surfaces within 2 mm of the other.
Not a medical device; not intended for clinical use.</footer>
</main>
</body>
</html>
"""
