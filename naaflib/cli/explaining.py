"""`naaf explain`."""

import argparse

from ..errors import UsageError
from ..files import shown
from ..messages import progress_bar, say
from .arguments import add_command, path, rows, show, show_json, show_table, show_text

EXPLAIN = """\
Take a pair of image and caption apart: what each word adds to the score, or takes away, and where it looks;
and how the score ranks among those of all captions of the split with this image, its own ones beside it.
A row a word; with --regions a row a word and region. The mean of the words' effects is the score (SCAN: with
mean pooling).

  printed      in files, --json
  word?        known              whether the model knows the word; with ? it reads <unk>
  feature      feature_effect     what the word adds where regions match it (eq. 10; all that SCAN has)
  relevance    relevance_effect   what it adds by the regions' relevance (eq. 11)
  negative     negative_effect    what it takes away where no region matches it (eq. 9)
  effect       effect             all of them together
  cosine       best_cosine        the largest cosine with a region
  region       best_region        that region
  attends      attended_region    the region with the largest attention
  attention    attention          its share of the attention
  -            propagated         below 0 the word counts as mismatched (eq. 8)

--all takes every caption of the split, with its own image or with the one that is retrieved first, and
streams the rows to a table: any split fits in memory, and the file appears when it is whole.

examples:
  naaf explain outputs/first --image 3 --caption 15
  naaf explain outputs/first --image 3 --caption "a red star over a heart"
  naaf explain f30k_NAAF.pth.tar --vocabulary f30k_precomp.json --data data/f30k_precomp --image 3
  naaf explain outputs/first --caption 15 --out words.csv page.png
  naaf explain outputs/first --caption 15 --figure attention --out attention.pdf
  naaf explain outputs/first --caption 15 --regions --json
  naaf explain outputs/first --all --out all_words.csv
  naaf explain outputs/first --all retrieved --regions --out regions.parquet"""

TABLES = (".csv", ".parquet")
FIGURES = (".png", ".pdf", ".svg")
ABOUT = ("image", "image_name", "caption", "own", "text", "method", "boundary", "score")  # of a pair, as JSON
PAGES = ("picture", "words", "attention")
WORD_COLUMNS = {
    "feature_effect": "feature",
    "relevance_effect": "relevance",
    "negative_effect": "negative",
    "effect": "effect",
    "best_cosine": "cosine",
    "best_region": "region",
    "attended_region": "attends",
    "attention": "attention",
}
ONE_EFFECT_LACKS = ("feature_effect", "relevance_effect", "negative_effect")


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add this module's command to the command line."""
    what = "which words and regions match, and how much"
    add = add_command(commands, "explain", what, EXPLAIN, explain).add_argument
    add("source", type=path, metavar="RUN_OR_CHECKPOINT", help="a run folder, or a checkpoint")
    add("--data", type=path, metavar="DIR", help="data set; by default the one of the run")
    add("--split", metavar="NAME", help="train, dev, test or testall; by default test, else dev")
    add("--image", metavar="IMAGE", help="its number or file name; by default the one that --caption is of")
    add("--caption", metavar="CAPTION", help="its number, or any text; by default the image's first")
    add(
        "--all", nargs="?", const="own", choices=("own", "retrieved"),
        help="every caption, with its own image (own, the default) or with the first one retrieved",
    )  # fmt: skip
    add("--regions", action="store_true", help="a row a word and region")
    add(
        "--out", type=path, nargs="+", action="extend", default=[], metavar="FILE",
        help="write a table (.csv, .parquet) or, of one pair, a figure (.png, .pdf, .svg)",
    )  # fmt: skip
    add(
        "--figure", choices=PAGES, help="what the figure in --out shows: the picture and the words' effects "
        "(the default), the words and all their cosines, or where each word looks",
    )  # fmt: skip
    add("--vocabulary", type=path, metavar="JSON", help="the vocabulary of a released checkpoint")
    add("--device", default="auto", metavar="NAME", help="cpu, cuda, cuda:1, ...")
    add("--json", action="store_true", help="the result as JSON")


def explain(arguments: argparse.Namespace) -> int:
    _check(arguments)
    from ..data.splits import evaluation_split, open_split
    from ..devices import pick_device
    from ..model.checkpoint import data_folder, load_checkpoint

    model = load_checkpoint(arguments.source, arguments.vocabulary).to(pick_device(arguments.device))
    data = data_folder(arguments.source, arguments.data)
    split = open_split(data, arguments.split or evaluation_split(data))
    return (_one if arguments.all is None else _every)(arguments, model, split)


def _check(arguments: argparse.Namespace) -> None:
    """Mistakes that need no model to be found."""
    from ..explanation.tables import check_table

    one = arguments.image is not None or arguments.caption is not None
    if one == (arguments.all is not None):
        raise UsageError("name a pair with --image and --caption, or every caption with --all")
    figures = [file for file in arguments.out if file.suffix in FIGURES]
    for file in arguments.out:
        if file.suffix not in FIGURES + TABLES:
            raise UsageError(
                f"{shown(file)} has none of the endings that --out writes: "
                f"{_either(TABLES)} for a table, {_either(FIGURES)} for a figure"
            )
        if file not in figures:
            check_table(file)
    if arguments.all and (figures or arguments.figure or not arguments.out):
        raise UsageError("--all goes to a table: --out FILE.csv or FILE.parquet (a figure shows one pair)")
    if arguments.figure and not figures:
        raise UsageError(
            f"--figure {arguments.figure} needs a file to draw into; name one with --out, such as page.png"
        )


def _either(endings: tuple[str, ...]) -> str:
    return f"{', '.join(endings[:-1])} or {endings[-1]}"


def _one(arguments: argparse.Namespace, model, split) -> int:
    from .. import explanation
    from ..files import atomic_path

    pair = explanation.explain(model, split, *_named(arguments, split))
    for file in arguments.out:
        if file.suffix in FIGURES:
            with atomic_path(file) as partial:
                pair.figure(arguments.figure or "picture").savefig(partial)
        else:
            explanation.write_pairs(file, [pair], regions=arguments.regions)
        say(f"wrote {shown(file)}")
    scale = _scale(arguments, model, split, pair)
    if arguments.json:
        show_json(_record(pair, split, regions=arguments.regions) | scale)
    else:
        show_pair(pair, f"\n{_scale_sentence(pair, **scale)}", regions=arguments.regions)
    return 0


def show_pair(pair, scale: str = "", *, regions: bool = False) -> None:
    """What was taken apart, and the table."""
    show_text(f"{_head(pair)}{scale}\n")
    table = _region_table(pair) if regions else _word_table(pair)
    show_table(table.rename_axis(None), digits=3)
    if not pair.known.all():
        show("\nA word with a question mark is unknown to the model, which reads <unk>.")


def _named(arguments: argparse.Namespace, split) -> tuple[int, int | str]:
    """The pair that was asked for; what is not named is the other's own."""
    from ..explanation.choice import find_caption, find_pair

    caption = None if arguments.caption is None else find_caption(arguments.caption, split)
    if arguments.image is None and isinstance(caption, str):
        raise UsageError("a caption given as text belongs to no image; name one with --image")
    return find_pair(split, arguments.image, caption)


def _every(arguments: argparse.Namespace, model, split) -> int:
    from ..explanation import explain_pairs, write_pairs

    captions = range(len(split.captions))
    images = split.image_of_caption if arguments.all == "own" else _retrieved(arguments, model, split)
    pairs = explain_pairs(model, split, images, captions)
    progress = progress_bar(pairs, total=len(captions), desc="explaining", unit="pair", mininterval=1.0)
    count = write_pairs(arguments.out, iter(progress), regions=arguments.regions)
    if arguments.json:
        files = [{"file": str(file), "rows": count} for file in arguments.out]
        show_json({"split": split.name, "images": arguments.all, "pairs": len(captions), "files": files})
    else:
        names = ", ".join(shown(file) for file in arguments.out)
        show(f"{count:,} rows of {len(captions):,} pairs ({arguments.all}): {names}")
    return 0


def _saved_scores(arguments: argparse.Namespace, split):
    """The run's saved scores (image, caption), if its present checkpoint made them; else None."""
    from ..evaluation import saved_scores
    from ..model.checkpoint import one_member

    is_run = arguments.source.is_dir() and arguments.vocabulary is None
    return saved_scores(one_member(arguments.source), split) if is_run else None


def _scale(arguments: argparse.Namespace, model, split, pair) -> dict[str, object]:
    """What a score is measured by: its rank, from 1, among the image's scores with all captions of the split
    (and with the text), and the image's own caption that scores highest, with its score and rank.
    """
    from ..pages.pairs import scores_of_images

    saved = _saved_scores(arguments, split)
    scores = scores_of_images(model, split, [pair.image])[0] if saved is None else saved[pair.image]
    own = max(split.captions_of_image(pair.image), key=lambda caption: scores[caption])
    score = pair.score if pair.caption is None else scores[pair.caption]
    return {
        "rank": 1 + int((scores > score).sum()),
        "captions": len(scores),
        "own_caption": own,
        "own_score": float(scores[own]),
        "own_rank": 1 + int((scores > scores[own]).sum()),
    }


def _scale_sentence(pair, rank: int, captions: int, own_caption: int, own_score: float, own_rank: int) -> str:
    own = f"its best own caption, {own_caption}, has rank {own_rank}, score {own_score:.4f}"
    own = "the best of its own" if pair.caption == own_caption else own
    return f"rank {rank} of {captions:,} captions for this image; {own}"


def _retrieved(arguments: argparse.Namespace, model, split):
    """The image that scores highest for each caption, by the run's saved scores if they are its own."""
    from ..metric.retrieval import retrieval_metrics
    from ..pages.pairs import retrieved_images

    scores = _saved_scores(arguments, split)
    if scores is None:
        return retrieved_images(model, split)
    say(f"retrieved by the run's saved scores of {split.name}")
    return retrieval_metrics(scores, split.captions_per_image).t2i.top1


def _head(pair) -> str:
    """What was taken apart, and what its score is of the table below."""
    adds_up = abs(pair.effect.mean() - pair.score) < 1e-4
    scored = "the mean of the column effect" if adds_up else "LogSumExp of the effects"
    return f"{pair.sentence()}: {scored}"


def _word_table(pair):
    """A row a word, as a person reads it."""
    frame = pair.to_frame()
    columns = [name for name in WORD_COLUMNS if len(pair.effects) > 1 or name not in ONE_EFFECT_LACKS]
    texts = frame[columns].map(lambda value: f"{value:.3f}" if isinstance(value, float) else str(value))
    return texts.rename(columns=WORD_COLUMNS).assign(word=_said(pair)).set_index("word")  # narrower as texts


def _said(pair) -> list[str]:
    """The words; an unknown one has a question mark."""
    return [word if known else f"{word}?" for word, known in zip(pair.words, pair.known, strict=True)]


def _region_table(pair):
    """A row a word and region, as a person reads it."""
    frame, words = pair.regions_frame(), _said(pair)
    frame = frame.assign(word=[words[k] for k in frame["word_index"]]).drop(columns="word_index")
    if len(pair.effects) == 1:
        frame = frame.drop(columns=["feature_weight", "relevance_weight"])
    boxes = {name: frame[name].round().astype(int) for name in ("x1", "y1", "x2", "y2") if name in frame}
    return frame.assign(**boxes).set_index("word")


def _record(pair, split, *, regions: bool) -> dict[str, object]:
    """The pair for a program."""
    return {
        "split": split.name,
        **{name: getattr(pair, name) for name in ABOUT},
        "words": rows(pair.to_frame()),
        **({"regions": rows(pair.regions_frame())} if regions else {}),
    }
