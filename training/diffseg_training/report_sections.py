"""The sections of an evaluation report: each takes the metrics and gives HTML."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from diffseg_training.evaluation_plots import (
    raters_plot,
    reliability_plot,
    risk_plot,
    uncertainty_plot,
)
from diffseg_training.evaluation_text import interval, number
from diffseg_training.report_parts import (
    card,
    estimate,
    image,
    section,
    table,
)

Metrics = Mapping[str, Any]
_AVERAGES = (
    ("every image alike", "image_mean"),
    ("images that hold it", "positive_mean"),
    ("all voxels pooled", "pooled"),
    ("every patient alike", "patient_mean"),
)


def headline(metrics: Metrics) -> str:
    """Return the numbers that are read first, with their intervals."""
    mean, risk, ci95 = metrics["mean"], metrics["risk_coverage"]["box"], metrics["ci95"]
    cards = [
        card("Dice", number(metrics["dice_macro"]), interval(ci95["dice_macro"])),
        card("IoU", number(metrics["iou_macro"]), interval(ci95["iou_macro"])),
    ]
    if len(mean["dice"]) == 1 and mean["dice"] != metrics["mean_positive"]["dice"]:
        ((name, value),) = metrics["mean_positive"]["dice"].items()
        bounds = interval(ci95["averages"]["dice"]["positive_mean"][name])
        cards.insert(1, card("Dice, images that hold it", number(value), bounds))
    for unit in ("mm", "px"):
        kind = f"hd95_{unit}"
        known = {name: v for name, v in mean[kind].items() if v is not None}
        if known:
            name = max(known, key=lambda name: known[name])
            title = f"HD95, {unit}" + (f" ({name})" if len(mean["dice"]) > 1 else "")
            bounds = interval(ci95[kind][name], 1)
            cards.append(card(title, number(known[name], 1), bounds))
    bounds = interval(ci95["ece_foreground_box"])
    value = number(metrics["ece_foreground_box"])
    cards.append(card("Calibration error (ECE), in the box", value, bounds))
    if risk is not None:
        bounds = interval(ci95["risk_coverage"]["box"]["auroc"])
        title = "Uncertainty marks errors (AUROC), in the box"
        cards.append(card(title, number(risk["auroc"]), bounds))
    if metrics["raters"] is not None and len(mean["dice"]) == 1:
        (name,) = mean["dice"]
        bounds = interval(ci95["raters"]["ged2"][name])
        value = number(metrics["raters"]["ged2"][name])
        cards.append(card("Distance to the raters (GED²)", value, bounds))
    return "".join(cards)


def structures(metrics: Metrics) -> str:
    """Return the means over cases of each structure."""
    mean, ci95 = metrics["mean"], metrics["ci95"]
    names = list(mean["dice"])
    unit = "px" if _defined(mean["hd95_px"]) and not _defined(mean["hd95_mm"]) else "mm"
    digits = {"dice": 3, "iou": 3, f"hd95_{unit}": 2, f"nsd_2{unit}": 3}
    rows = [
        (name, *(estimate(mean[k][name], ci95[k][name], d) for k, d in digits.items()))
        for name in names
    ]
    if len(names) > 1:
        pair = [estimate(metrics[k], ci95[k]) for k in ("dice_macro", "iou_macro")]
        merged = estimate(metrics["dice_foreground"], ci95["dice_foreground"])
        rows.append(("mean over structures", *pair, "", ""))
        rows.append(("merged into one", merged, "", "", ""))
    head = ("structure", "Dice", "IoU", f"HD95, {unit}", f"surface Dice at 2 {unit}")
    return table(head, rows)


def averages(metrics: Metrics) -> str:
    """Return Dice and IoU by each way of averaging."""
    found, ci95 = metrics["averages"], metrics["ci95"]["averages"]
    names = list(metrics["mean"]["dice"])
    scores = [f"{kind}, {name}" for name in names for kind in ("Dice", "IoU")]
    rows = [
        (
            title,
            *(
                estimate(found[kind][key][name], ci95[kind][key][name])
                for name in names
                for kind in ("dice", "iou")
            ),
        )
        for title, key in _AVERAGES
    ]
    return table(["average over", *scores], rows)


def calibration(metrics: Metrics) -> str:
    """Return both calibration errors, each with its reliability diagram."""
    ece, ci95 = metrics["ece"], metrics["ci95"]["ece"]
    kinds = ("pooled", "image_mean", "box")
    rows = [
        (
            "predicted class (B)",
            *(estimate(ece["top_label"][k], ci95["top_label"][k], 4) for k in kinds),
        )
    ]
    for name in metrics["mean"]["dice"]:
        found = (
            estimate(ece["binary"][k][name], ci95["binary"][k][name], 4) for k in kinds
        )
        rows.append((f"probability of {name} (A)", *found))
    head = ("calibration error of the", "all voxels", "mean of images", "in the box")
    top = reliability_plot(
        {"model": metrics["reliability"]},
        "confidence of the predicted class",
        "share that is right",
    )
    binary = reliability_plot(
        metrics["reliability_binary"],
        "probability of a structure",
        "share that lies inside it",
    )
    return section(
        "Do the probabilities mean what they say?",
        "On the dashed line, what is given 80 % is so 80 % of the time; below it the "
        "model is too sure. B looks at the class that was predicted, A at each "
        "structure's own probability. Most voxels are far from any structure and "
        "easily right, so that the box, 5 voxels around proposal and reference, is "
        "the sharper test.",
        '<div class="pair">',
        f"<div><h3>B: predicted class</h3>{image(top, 'Reliability, top label')}</div>",
        f"<div><h3>A: each structure</h3>{image(binary, 'Reliability, binary')}</div>",
        "</div>",
        table(head, rows),
    )


def uncertainty(metrics: Metrics) -> str:
    """Return whether uncertainty marks the errors."""
    places = metrics["risk_coverage"]
    ci95 = metrics["ci95"]["risk_coverage"]
    shown = places["box"] or places["grid"]
    rows = []
    for title, key in (("in the box", "box"), ("all voxels", "grid")):
        risk = places[key]
        if risk is not None:
            rows.append(
                (
                    title,
                    estimate(risk["auroc"], ci95[key]["auroc"]),
                    number(risk["error_rate"], 4),
                    estimate(risk["aurc"], ci95[key]["aurc"], 4),
                    number(risk["ideal"], 4),
                    estimate(risk["excess"], ci95[key]["excess"], 4),
                    number(risk["excess_share"]),
                )
            )
    head = ("", "AUROC", "share wrong", "AURC", "ideal AURC", "excess",
            "excess, share")  # fmt: skip
    marks = image(uncertainty_plot(metrics["uncertainty_error"]), "Wrong voxels")
    curve = image(risk_plot(shown), "Risk and coverage")
    return section(
        "Does it know where it errs?",
        "Useful uncertainty is high where the proposal is wrong. Left: the share of "
        "wrong voxels, by uncertainty. Right: what is left wrong when only the most "
        "certain voxels near the structure are trusted; the blue area is what an "
        "ideal order would save. Excess as a share is 0 for that order and 1 for "
        "chance.",
        '<div class="pair">',
        f"<div><h3>Errors by uncertainty</h3>{marks}</div>",
        f"<div><h3>Risk and coverage</h3>{curve}</div></div>",
        table(head, rows),
    )


def raters(metrics: Metrics) -> str:
    """Return the section on several raters; nothing where there is one."""
    found = metrics["raters"]
    if found is None:
        return ""
    ci95 = metrics["ci95"]["raters"]
    cases = [case["raters"] for case in metrics["cases"] if case["raters"] is not None]
    names = list(metrics["mean"]["dice"])
    distances = (
        ("GED²", "ged2"),
        ("members to raters", "distance"),
        ("among members", "member_diversity"),
        ("among raters", "rater_diversity"),
    )
    proposals = found["proposal_dice"]
    energy, dice = [], []
    for name in names:
        energy.append(
            (name, *(estimate(found[k][name], ci95[k][name]) for _, k in distances))
        )
        between = estimate(found["rater_dice"][name], ci95["rater_dice"][name])
        each = (
            estimate(one[name], ci95["proposal_dice"][key][name])
            for key, one in proposals.items()
        )
        dice.append((name, between, *each))
    with_raters = [f"Dice, proposal with {key.replace('_', ' ')}" for key in proposals]
    marks = estimate(
        found["uncertainty_disagreement_auroc"],
        ci95["uncertainty_disagreement_auroc"],
    )
    return section(
        "Is it as close to the raters as they are to each other?",
        f"{found['n_cases']} cases have {found['n_raters']} raters. GED² is twice the "
        "mean distance (1 − IoU) of members and raters, less the mean distance among "
        "members and that among raters: 0 where members vary as raters do. "
        f"The AUROC with which uncertainty marks the voxels that raters dispute is "
        f"<b>{escape(marks)}</b>.",
        image(raters_plot(cases, names), "Dice with and between raters"),
        table(["structure", "Dice, raters with each other", *with_raters], dice),
        table(["distance", *(title for title, _ in distances)], energy),
    )


def stability(metrics: Metrics) -> str:
    """Return the section on noise seeds; nothing where there is one."""
    found = metrics["stability"]
    if found is None:
        return ""
    rows = []
    for name in metrics["mean"]["dice"]:
        for title, kind in (("Dice", "dice"), ("IoU", "iou")):
            one = found[kind][name]
            rows.append(
                (
                    f"{title}, {name}",
                    number(one["mean"], 4),
                    estimate(one["std"], one["std_ci95"], 5),
                    number(min(one["values"]), 4),
                    number(max(one["values"]), 4),
                    number(one["case_std"], 4),
                )
            )
    head = ("", "mean", "std over seeds", "lowest", "highest", "std of a case")
    seeds = ", ".join(str(seed) for seed in found["seeds"])
    return section(
        "Does it depend on the noise?",
        f"The whole split under the seeds {seeds}, with nothing else changed.",
        table(head, rows),
    )


def _defined(values: Mapping[str, float | None]) -> bool:
    return any(value is not None for value in values.values())
