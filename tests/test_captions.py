"""From text to word ids: tokens, caption files, vocabularies of all three forms, GloVe files."""

import gzip
import json
import pickle
import zipfile

import numpy as np
import pytest

from naaflib.data.captions import pad, read_captions, tokenize
from naaflib.data.glove import read_glove
from naaflib.data.vocabulary import Vocabulary
from naaflib.errors import NaafError

CAPTIONS = ["A dog and a cat .", "a dog runs", "The cat sleeps", "a zebra"]


# ---- tokens


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A man, in RED, isn't here.", "a man , in red , is n't here ."),
        ("A boy runs. He falls.", "a boy runs . he falls ."),  # as word_tokenize: sentences first
        ("Look! A dog? 2 dogs.", "look ! a dog ? 2 dogs ."),
        ("Two men at no. 5 street", "two men at no . 5 street"),
        ("a dog. it barks.", "a dog. it barks ."),  # a small letter starts no sentence
        ("A T-shirt   and\ta $3 hat", "a t-shirt and a $ 3 hat"),
        ('a "quoted" word', "a `` quoted '' word"),
        ("", ""),
        ("  \t ", ""),
    ],
)
def test_words_are_nltk_s_of_the_lower_cased_sentences(text, words):
    assert tokenize(text) == words.split()


def test_the_capital_that_splits_is_that_of_the_original_text():
    assert tokenize("a dog. A cat") == ["a", "dog", ".", "a", "cat"]
    assert tokenize("a dog. a cat") == ["a", "dog.", "a", "cat"]


# ---- caption files


def test_a_line_is_a_caption(tmp_path):
    path = tmp_path / "train_caps.txt"
    path.write_bytes("one  dog \r\n\r\n\tzwei Hünde\nthree\x85dogs\u2028run\x0cfast\n".encode())
    assert read_captions(path) == ["one  dog", "", "zwei Hünde", "three\x85dogs\u2028run\x0cfast"]


def test_the_last_line_needs_no_end(tmp_path):
    path = tmp_path / "train_caps.txt"
    path.write_bytes(b"one\ntwo")
    assert read_captions(path) == ["one", "two"]
    path.write_bytes(b"one\ntwo\n\n")  # an empty caption counts
    assert read_captions(path) == ["one", "two", ""]
    path.write_bytes(b"")
    assert read_captions(path) == []


def test_a_file_that_is_missing_or_not_text_is_named(tmp_path):
    with pytest.raises(NaafError, match=r"gone\.txt is missing"):
        read_captions(tmp_path / "gone.txt")
    (tmp_path / "latin.txt").write_bytes("one\ntwo\ncafé\n".encode("latin-1"))
    with pytest.raises(NaafError, match=r"latin\.txt, line 3: not UTF-8"):
        read_captions(tmp_path / "latin.txt")


# ---- padding


def test_padding_keeps_every_id_in_its_place():
    rows = [[5, 3], [], [7, 7, 7, 2], [9]]
    padded, lengths = pad(rows)
    assert padded.dtype == lengths.dtype == np.int64
    assert padded.shape == (4, 4)
    assert lengths.tolist() == [2, 0, 4, 1]
    assert [padded[k, :n].tolist() for k, n in enumerate(lengths)] == rows
    assert padded.sum() == sum(map(sum, rows))  # zero past each length


def test_nothing_is_padded_to_nothing():
    padded, lengths = pad([])
    assert padded.shape == (0, 0)
    assert lengths.shape == (0,)


# ---- vocabularies


def test_a_vocabulary_holds_the_frequent_words_after_the_special_ones():
    assert Vocabulary.build(CAPTIONS, 1).words == (
        *("<pad>", "<start>", "<end>", "<unk>"),
        *("a", "cat", "dog"),  # 4, 2, 2 times
        *(".", "and", "runs", "sleeps", "the", "zebra"),  # once, in alphabetical order
    )
    assert Vocabulary.build(CAPTIONS, 2).words[4:] == ("a", "cat", "dog")
    assert Vocabulary.build(CAPTIONS, 3).words[4:] == ("a",)
    assert Vocabulary.build(CAPTIONS, 5).words[4:] == ()
    assert Vocabulary.build(CAPTIONS).words[4:] == ("a",)  # SCAN's threshold is 4


def test_the_order_of_the_captions_does_not_matter():
    assert Vocabulary.build(CAPTIONS[::-1], 1) == Vocabulary.build(CAPTIONS, 1)


def test_a_caption_stands_between_start_and_end_and_the_unknown_is_unknown():
    vocabulary = Vocabulary.build(CAPTIONS, 2)
    words = [vocabulary.words[index] for index in vocabulary.encode("A DOG eats the cat")]
    assert words == ["<start>", "a", "dog", "<unk>", "<unk>", "cat", "<end>"]
    assert [vocabulary.words[index] for index in vocabulary.encode("")] == ["<start>", "<end>"]
    assert "dog" in vocabulary
    assert "Dog" not in vocabulary


BI_GRU = ("<pad>", "<start>", "<end>", "<unk>", "a", "dog")
GLOVE = ("<pad>", "<unk>", "<start>", "<end>", "dog", "a")


def upstream(words: tuple[str, ...], form: str) -> dict[str, object]:
    word2idx = {word: index for index, word in reversed(list(enumerate(words)))}  # JSON keeps no order
    idx2word = {str(index): word for word, index in word2idx.items()}
    return {
        "both": {"word2idx": word2idx, "idx2word": idx2word, "idx": len(words)},
        "word2idx": {"word2idx": word2idx},
        "idx2word": {"idx2word": idx2word, "idx": len(words)},
        "ours": {"words": list(words)},
    }[form]


@pytest.mark.parametrize("words", [BI_GRU, GLOVE], ids=["Bi-GRU", "GloVe"])
@pytest.mark.parametrize("form", ["both", "word2idx", "idx2word", "ours"])
def test_both_upstream_forms_and_ours_are_read(tmp_path, words, form):
    path = tmp_path / "f30k_precomp_vocab.json"
    path.write_text(json.dumps(upstream(words, form)), encoding="utf-8")
    vocabulary = Vocabulary.read(path)
    assert vocabulary.words == words
    assert len(vocabulary) == 6
    start, end, unknown = (words.index(word) for word in ("<start>", "<end>", "<unk>"))
    assert vocabulary.encode("a dog flies") == [start, words.index("a"), words.index("dog"), unknown, end]
    assert Vocabulary.from_json(json.loads(json.dumps(vocabulary.to_json()))) == vocabulary


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "JSON|Expecting"),
        ("[]", "none of the keys words, word2idx, idx2word"),
        ('{"words": "a"}', "none of the keys"),
        ('{"words": []}', "<pad> is missing"),
        (json.dumps(upstream(("<pad>", "<start>", "<end>", "a"), "ours")), "<unk> is missing"),
        (json.dumps(upstream(BI_GRU[1:] + BI_GRU[:1], "both")), "id 0 is not <pad>"),
        (json.dumps({"words": [*BI_GRU, "dog"]}), "two words share one"),
        (json.dumps({"word2idx": {**upstream(BI_GRU, "both")["word2idx"], "cat": 5}}), "share one id"),
        (
            json.dumps({"word2idx": {**upstream(BI_GRU, "both")["word2idx"], "cat": 7}}),
            "7 ids are not 0 to 6",
        ),
        (json.dumps({"word2idx": {**upstream(BI_GRU, "both")["word2idx"], "cat": "x"}}), "x"),
        (json.dumps({"word2idx": {**upstream(BI_GRU, "both")["word2idx"], "cat": None}}), ""),
    ],
)
def test_what_is_no_vocabulary_is_named(tmp_path, content, reason):
    path = tmp_path / "vocab.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(NaafError, match=r"vocab\.json.*" + f"({reason})"):
        Vocabulary.read(path)


class Pickled:
    """As SCAN's and VSE++'s first vocabularies were written."""


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickled_vocabulary_is_not_run_and_says_how_it_becomes_json(tmp_path, protocol):
    (tmp_path / "f30k_vocab.pkl").write_bytes(pickle.dumps(Pickled(), protocol))
    with pytest.raises(NaafError, match=r"f30k_vocab\.pkl: a pickled vocabulary.*json\.dump"):
        Vocabulary.read(tmp_path / "f30k_vocab.pkl")


def test_a_missing_vocabulary_is_named(tmp_path):
    with pytest.raises(NaafError, match=r"gone\.json is missing; it should be a vocabulary JSON"):
        Vocabulary.read(tmp_path / "gone.json")


# ---- GloVe

VOCABULARY = Vocabulary((*BI_GRU, ". . .", "zebra"))
LINES = "the 9 9 9\ndog 0.5 -1e-3 2\n. . . 1 2 3\ndog 7 7 7\na 4 5 6"


def check(vectors):
    assert vectors.ids.tolist() == [4, 5, 6]  # a, dog, . . . ; zebra has none
    assert vectors.values.dtype == np.float32
    np.testing.assert_array_equal(vectors.values, np.float32([[4, 5, 6], [0.5, -1e-3, 2], [1, 2, 3]]))


def test_vectors_belong_to_their_words(tmp_path):
    (tmp_path / "glove.txt").write_text(LINES)
    check(read_glove(tmp_path / "glove.txt", VOCABULARY))


def test_a_zip_is_read_as_its_text(tmp_path):
    with zipfile.ZipFile(tmp_path / "glove.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("glove.840B.300d.txt", LINES)
        archive.writestr("README", "read me")
    check(read_glove(tmp_path / "glove.zip", VOCABULARY))


@pytest.mark.parametrize("ending", [" \n", "\t\n", "\r\n", " \r\n"])
def test_what_stands_at_a_line_s_end_is_no_number(tmp_path, ending):
    """fastText's own .vec files end every line in a blank."""
    (tmp_path / "wiki.vec").write_bytes(("4 3\n" + LINES + "\n").replace("\n", ending).encode())
    check(read_glove(tmp_path / "wiki.vec", VOCABULARY))


def test_a_tab_parts_numbers_as_a_blank_does(tmp_path):
    (tmp_path / "glove.txt").write_text(LINES.replace(". . .", "*").replace(" ", "\t").replace("*", ". . ."))
    check(read_glove(tmp_path / "glove.txt", VOCABULARY))


@pytest.mark.parametrize("name", ["cc.en.300.vec.gz", "renamed.txt"])
def test_a_gzip_is_read_as_its_text_whatever_it_is_called(tmp_path, name):
    (tmp_path / name).write_bytes(gzip.compress(LINES.encode()))
    check(read_glove(tmp_path / name, VOCABULARY))


def test_a_zip_of_fasttext_is_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "crawl.zip", "w") as archive:
        archive.writestr("crawl-300d-2M.vec", LINES)
    check(read_glove(tmp_path / "crawl.zip", VOCABULARY))


@pytest.mark.parametrize(
    "content",
    [
        b"8 3\ndog " + np.float32([0.5, 1, 2]).tobytes(),  # word2vec's binary form
        (793712314).to_bytes(4, "little") + bytes(60),  # fastText's own model
        LINES.encode("utf-16"),
    ],
    ids=["word2vec", "fastText", "UTF-16"],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_binary_vectors_are_refused_with_the_form_that_is_read(tmp_path, content, pack):
    (tmp_path / "vectors.bin").write_bytes(pack(content))
    with pytest.raises(NaafError, match=r"vectors\.bin holds binary vectors.*\.vec or \.txt"):
        read_glove(tmp_path / "vectors.bin", VOCABULARY)


def test_a_cut_gzip_is_named(tmp_path):
    whole = gzip.compress("".join(f"{k} {k} 1 2\n" for k in range(5000)).encode())
    for size in (3, 30, len(whole) // 2, len(whole) - 3):
        (tmp_path / "glove.txt.gz").write_bytes(whole[:size])
        with pytest.raises(NaafError, match=r"glove\.txt\.gz is not a whole gzip file.*; download it again"):
            read_glove(tmp_path / "glove.txt.gz", VOCABULARY)


def test_a_word2vec_header_and_strange_bytes_are_passed_over(tmp_path):
    (tmp_path / "glove.txt").write_bytes(b"5 3\n\xff\xfe 1 2 3\nx\xc2\x85y 1 2 3\n" + LINES.encode())
    check(read_glove(tmp_path / "glove.txt", VOCABULARY))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "no vector for any of the vocabulary's 8 words"),
        ("the 1 2 3\n", "no vector for any"),
        ("the 1 2 3\ndog 1 x 3\n", "line 2: not a word and 3 numbers"),
        ("\n\n", "no vector for any"),
        ("the 1 2 3\ndog 1 nan 3\n", "line 2: a number is not finite"),
    ],
)
def test_a_file_that_is_no_glove_is_named(tmp_path, content, reason):
    (tmp_path / "glove.txt").write_text(content)
    with pytest.raises(NaafError, match=r"glove\.txt.*" + reason):
        read_glove(tmp_path / "glove.txt", VOCABULARY)


def test_a_file_that_is_missing_or_damaged_is_named(tmp_path):
    with pytest.raises(NaafError, match=r"glove\.6B\.txt is missing"):
        read_glove(tmp_path / "glove.6B.txt", VOCABULARY)
    (tmp_path / "glove.zip").write_bytes(b"PK not really")
    with pytest.raises(NaafError, match=r"glove\.zip is not a whole zip"):
        read_glove(tmp_path / "glove.zip", VOCABULARY)
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a.txt", LINES)
        archive.writestr("b.txt", LINES)
    with pytest.raises(NaafError, match=r"two\.zip holds 2 \.txt files"):
        read_glove(tmp_path / "two.zip", VOCABULARY)


@pytest.mark.parametrize(("line", "numbers"), [("dog 1 2", 2), ("dog 1 2 3 4", 4), ("dog", 0)])
def test_a_line_of_another_length_is_refused(tmp_path, line, numbers):
    (tmp_path / "glove.txt").write_text(f"the 1 2 3\n{line}\na 4 5 6\n")
    with pytest.raises(NaafError, match=f"line 2: {numbers} numbers, where the first line has 3"):
        read_glove(tmp_path / "glove.txt", VOCABULARY)
