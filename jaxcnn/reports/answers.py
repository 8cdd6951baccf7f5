"""Why a model says what it says: attributions with their tests, ascent, and its mistakes."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn import models, plots
from jaxcnn.interpret.ascent.maximization import maximize
from jaxcnn.interpret.ascent.regularizers import Regularizers
from jaxcnn.interpret.checks.rankings import rank_agreement
from jaxcnn.interpret.checks.removal import deletion_insertion
from jaxcnn.interpret.layers import last_maps
from jaxcnn.interpret.methods import methods
from jaxcnn.reports.pages import Picture, Section, Table
from jaxcnn.reports.subjects import Subject, class_probabilities, class_scores, normal, shown
from jaxcnn.train.metrics import read_metrics

REMOVALS = 20  # steps in which pixels are deleted or inserted
ALL_CLASSES = 10  # up to so many, the ascent of each is drawn
SOME_CLASSES = 4  # of more, so many
WORST = 16  # mistakes that are shown
BATCH = 256


def attributions_section(about: Subject, directory: Path) -> Section:
    """Every method side by side for the class that each image is taken for, and its tests."""
    labels = about.logits(about.variables, about.images).argmax(-1)
    f, p = class_scores(about, labels), class_probabilities(about, labels)
    untrained = class_scores(with_last_layer_drawn_anew(about), labels)
    named = methods(layer=last_maps(f, about.images), window=max(about.images.shape[1] // 7, 2))
    maps, rows, numbers, refused = {}, [], {}, []
    for name, method in named.items():
        try:
            maps[name] = method(f, about.images)
        except ValueError as error:  # a method that the model has no place for
            rows.append((name, *"----"))
            refused.append(str(error))
            continue
        began = time.perf_counter()
        jax.block_until_ready(method(f, about.images))
        seconds = time.perf_counter() - began
        kept = rank_agreement(maps[name], method(untrained, about.images)).mean()
        found = deletion_insertion(p, about.images, maps[name], steps=REMOVALS)
        deletion, insertion = found.deletion.mean(), found.insertion.mean()
        numbers[name] = f"deletion {deletion:.2f}, insertion {insertion:.2f}, kept {kept:.2f}"
        rows.append(
            (name, f"{kept:.2f}", f"{deletion:.3f}", f"{insertion:.3f}", f"{1000 * seconds:.0f}")
        )
    figure = plots.attribution_panels(
        shown(about, about.images),
        maps,
        numbers=numbers,
        captions=about.captions,
        columns=1 + len(maps),
    )
    path = plots.save(figure, directory / "attributions.png")
    text = (
        "What speaks for (red) and against (blue) the most probable class of each image.\n"
        "Two tests, to be read together. Kept: the rank correlation that is left of a map when "
        "the last layer's weights are drawn at random; a method that keeps much does not look at "
        "what the model has learnt there. Deletion and insertion: the mean probability of the "
        "class while pixels are taken away, or put in, the most important first; a good method has "
        "little of the first and much of the second.\n"
    ) + "\n".join(refused)
    columns = ("method", "kept", "deletion", "insertion", "time (ms)")
    return Section(
        "Attributions and their tests",
        text,
        [
            Picture(path, "Attribution maps of every method for every image"),
            Table("Means over the images; time of one call after compilation", columns, rows),
        ],
    )


def with_last_layer_drawn_anew(about: Subject) -> Subject:
    """The model, but for the last layer that has parameters."""
    x = about.images[:1]
    *_, last = (n for n in models.summarize(about.model, x.shape[1:]) if n.parameters)
    path = last.name.split("/")
    drawn = about.model.init(jax.random.key(1), x)["params"]

    def replaced(params: Any, fresh: Any, path: Sequence[str]) -> Any:
        if not path:
            return fresh
        name, *rest = path
        return {**params, name: replaced(params[name], fresh[name], rest)}

    params = replaced(about.variables["params"], drawn, path)
    return about._replace(variables={**about.variables, "params": params})


def ascent_section(about: Subject, directory: Path) -> Section:
    """Images that the model itself takes for typical of a class."""
    if len(about.classes) <= ALL_CLASSES:
        labels = list(range(len(about.classes)))
    else:  # the likeliest of each image, then the second of each, and so on
        order = jnp.argsort(-about.logits(about.variables, about.images))
        labels = list(dict.fromkeys(order.T.ravel().tolist()))[:SOME_CLASSES]
    mean, std = jnp.asarray(about.mean), jnp.asarray(about.std)
    h, w, c = about.images.shape[1:]
    result = maximize(
        class_scores(about, np.array(labels)),
        jax.random.key(0),
        (len(labels), h, w, c),
        learning_rate=0.03,
        regularizers=Regularizers(l2=1e-4),
        basis="fourier",
        decorrelate=c == 3,
        jitter=min(h, w) // 14,
        limits=(-mean / std, (1 - mean) / std),
    )
    names = [about.classes[k] for k in labels]
    scores = result.scores[-1]
    titles = [f"{name}\nlogit {score:.1f}" for name, score in zip(names, scores, strict=True)]
    figure = plots.image_sheet(shown(about, result.images), titles)
    path = plots.save(figure, directory / "ascent.png")
    text = "Gradient ascent on the logit of a class, from noise: what the model looks for in it."
    return Section("Ascent of the classes", text, [Picture(path, f"Ascent of {', '.join(names)}")])


def run_section(about: Subject, directory: Path) -> Section:
    """How the run went: its curves, its confusions, its worst mistakes."""
    assert about.dataset is not None
    assert about.run is not None
    history = read_metrics(about.run)
    test = about.dataset.test
    logits = np.concatenate(
        [
            np.asarray(about.logits(about.variables, normal(about, test.images[i : i + BATCH])))
            for i in range(0, len(test), BATCH)
        ]
    )
    predicted = logits.argmax(-1)
    counts = np.zeros((len(about.classes), len(about.classes)), np.int64)
    np.add.at(counts, (test.labels, predicted), 1)
    losses = -np.asarray(jax.nn.log_softmax(logits))[np.arange(len(test)), test.labels]
    wrong = np.flatnonzero(predicted != test.labels)
    worst = wrong[np.argsort(-losses[wrong])][:WORST]
    parts = [
        Picture(
            plots.save(plots.loss_curves(history), directory / "curves.png"), "Loss and accuracy"
        ),
        Picture(
            plots.save(plots.confusion_matrix(counts, about.classes), directory / "confusion.png"),
            "Which classes are taken for which",
        ),
    ]
    if len(worst):
        titles = [
            f"{about.classes[test.labels[i]]} taken for\n{about.classes[predicted[i]]}"
            for i in worst
        ]
        figure = plots.image_sheet(test.images[worst] / np.float32(255), titles)
        path = plots.save(figure, directory / "mistakes.png")
        parts.append(Picture(path, "Test images with the largest losses", "The worst mistakes"))
    text = f"{len(wrong):,} of {len(test):,} test images are taken for something else."
    return Section("The run", text, parts)
