import struct
from zlib import compress, crc32

import numpy as np
import pytest
from PIL import Image

from pitcore.camera.crops import crop_hash, find_crops, fold_of, load_labelled, read_crop
from pitcore.emulator.emulated import EmulatedSource
from pitcore.emulator.patch import extent
from pitcore.emulator.spec import RealCrops
from pitcore.errors import DataError, ImageError, SourceError
from tests.camera.belts import belt_of, disc_crop, frames_of, small_spec, write_crop, write_crops


def test_a_crop_is_read_back_as_top_and_bottom(tmp_path):
    pixels = disc_crop(1)
    write_crop(tmp_path / "a.png", pixels)
    found = read_crop(tmp_path / "a.png")
    assert np.array_equal(found, pixels)
    assert found.flags.c_contiguous


def save(path, array, mode=None, **options):
    Image.fromarray(array, mode).save(path, **options)


BAD = {
    "grey": (lambda p: save(p, np.full((40, 40), 9, np.uint8)), "1 plane"),
    "with alpha": (lambda p: save(p, np.full((40, 40, 4), 9, np.uint8)), "4 plane"),
    "palette": (lambda p: Image.fromarray(np.full((40, 40), 9, np.uint8)).convert("P").save(p), "1 plane"),
    "16 bit": (lambda p: save(p, np.full((40, 40), 900, np.uint16)), "1 plane"),
    "light in green": (lambda p: save(p, np.full((40, 40, 3), 9, np.uint8)), "green plane is not empty"),
    "all zero": (lambda p: save(p, np.zeros((40, 40, 3), np.uint8)), "no cherry in it"),
    "too small": (lambda p: write_crop(p, np.ones((7, 40, 2), np.uint8)), "40x7 px"),
    "too large": (lambda p: write_crop(p, np.ones((40, 513, 2), np.uint8)), "513x40 px"),
    "empty": (lambda p: p.write_bytes(b""), "not a PNG"),
    "text": (lambda p: p.write_text("cherry, clean, 1\n"), "not a PNG"),
    "jpeg": (lambda p: save(p, np.full((40, 40, 3), 9, np.uint8), format="JPEG"), "not a PNG"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_picture_is_named_with_what_is_wrong(tmp_path, what):
    path = tmp_path / "bad.png"
    make, message = BAD[what]
    make(path)
    with pytest.raises(ImageError, match=message) as caught:
        read_crop(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def png(*chunks):
    parts = [
        len(body).to_bytes(4, "big") + name + body + crc32(name + body).to_bytes(4, "big") for name, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def header(side, bits):
    return b"IHDR", struct.pack(">IIBBBBB", side, side, bits, 2, 0, 0, 0)


def test_sixteen_bits_are_refused_and_not_cut_to_eight(tmp_path):
    rows = compress((b"\0" + b"\x12\x34\0\0\x56\x78" * 20) * 20)
    (tmp_path / "deep.png").write_bytes(png(header(20, 16), (b"IDAT", rows), (b"IEND", b"")))
    with pytest.raises(ImageError, match=r"deep\.png: 16 bits a plane; save crops as 8-bit RGB PNG"):
        read_crop(tmp_path / "deep.png")


def test_a_huge_picture_cannot_hide_its_size_behind_another_chunk(tmp_path):
    small = (b"tEXt", struct.pack(">II", 40, 40) + b"is what I claim")
    (tmp_path / "bomb.png").write_bytes(png(small, header(30_000, 8), (b"IDAT", compress(b"")), (b"IEND", b"")))
    with pytest.raises(ImageError, match=r"bomb\.png: not a PNG file"):
        read_crop(tmp_path / "bomb.png")


def test_a_picture_with_any_bit_flipped_is_refused_and_said_to_be_damaged(tmp_path):
    write_crop(tmp_path / "whole.png", disc_crop(2))
    content = (tmp_path / "whole.png").read_bytes()
    for position in range(24, len(content), 7):  # before it are signature and size: they have their own words
        for bit in (1, 16):
            flipped = content[:position] + bytes([content[position] ^ bit]) + content[position + 1 :]
            (tmp_path / "flipped.png").write_bytes(flipped)
            with pytest.raises(ImageError, match=r"flipped\.png: the PNG is damaged: .*; copy the file again"):
                read_crop(tmp_path / "flipped.png")


def rows(count, side=20):
    return (b"\0" + b"\x12\0\x56" * side) * count


BROKEN = {
    "half its rows": ((b"IDAT", compress(rows(10))), "it holds 610 of the 1220 bytes of pixels"),
    "more rows": ((b"IDAT", compress(rows(21))), "it holds more pixels than its header says"),
    "no pixels": ((b"tEXt", b"where are they"), "cannot be decompressed|it holds 0 of"),
    "no sum of its pixels": ((b"IDAT", compress(rows(20))[:-4]), "it holds 1220 of the 1220"),
    "a wrong sum of its pixels": ((b"IDAT", compress(rows(20))[:-1] + b"?"), "its pixel data cannot be decompressed"),
}


@pytest.mark.parametrize("what", BROKEN)
@pytest.mark.parametrize("forgiving", [False, True])
def test_a_picture_with_right_chunks_and_wrong_pixels_is_refused(tmp_path, monkeypatch, what, forgiving):
    monkeypatch.setattr("PIL.ImageFile.LOAD_TRUNCATED_IMAGES", forgiving)  # of other tests in the process
    chunk, said = BROKEN[what]
    (tmp_path / "bad.png").write_bytes(png(header(20, 8), chunk, (b"IEND", b"")))
    with pytest.raises(ImageError, match=rf"bad\.png: the PNG is damaged: .*({said})"):
        read_crop(tmp_path / "bad.png")


def test_a_whole_picture_is_read_however_its_chunks_are_laid(tmp_path):
    packed = compress(rows(20))
    parts = [(b"IDAT", packed[:7]), (b"IDAT", packed[7:]), (b"tEXt", b"Comment\0x"), (b"IEND", b"")]
    (tmp_path / "whole.png").write_bytes(png(header(20, 8), (b"gAMA", bytes(4)), *parts) + b"behind the end")
    assert read_crop(tmp_path / "whole.png").tolist() == [[[0x12, 0x56]] * 20] * 20


@pytest.mark.parametrize("side", [8, 13, 64])
def test_an_interlaced_picture_is_whole_with_exactly_its_rows(tmp_path, side):
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    sizes = [(len(range(x, side, dx)), len(range(y, side, dy))) for x, y, dx, dy in passes]
    laid = b"".join((b"\0" + b"\x12\0\x56" * wide) * high for wide, high in sizes if wide)
    head = (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 1))
    (tmp_path / "a.png").write_bytes(png(head, (b"IDAT", compress(laid)), (b"IEND", b"")))
    assert read_crop(tmp_path / "a.png").shape == (side, side, 2)
    (tmp_path / "a.png").write_bytes(png(head, (b"IDAT", compress(laid[:-1])), (b"IEND", b"")))
    with pytest.raises(ImageError, match="the PNG is damaged: it holds"):
        read_crop(tmp_path / "a.png")


def test_damaged_crops_of_a_data_set_are_counted_and_named(tmp_path):
    write_crops(tmp_path, 8)
    for number in range(7):
        path = tmp_path / "cherry_pit" / f"{number:02}.png"
        path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ImageError) as caught:
        load_labelled(tmp_path)
    said = str(caught.value)
    assert said.startswith(
        f"{tmp_path}: 7 of 16 crops cannot be used: {tmp_path / 'cherry_pit' / '00.png'}: the PNG is"
    )
    assert said.count(".png: ") == 5
    assert said.endswith("; and 2 more, which `pitcore classify` names")
    assert "\n" not in said


def test_a_truncated_picture_is_refused_wherever_it_ends(tmp_path):
    write_crop(tmp_path / "whole.png", disc_crop(2))
    content = (tmp_path / "whole.png").read_bytes()
    for end in [*range(0, len(content), 37), *range(len(content) - 30, len(content))]:
        (tmp_path / "cut.png").write_bytes(content[:end])
        with pytest.raises(ImageError, match=r"cut\.png"):
            read_crop(tmp_path / "cut.png")


def test_a_huge_picture_is_refused_before_it_is_decoded(tmp_path):
    write_crop(tmp_path / "bomb.png", disc_crop(2))
    content = bytearray((tmp_path / "bomb.png").read_bytes())
    content[16:24] = (2**31 - 1).to_bytes(4, "big") * 2
    (tmp_path / "bomb.png").write_bytes(content)
    with pytest.raises(ImageError, match="2147483647x2147483647 px"):
        read_crop(tmp_path / "bomb.png")


def test_a_missing_picture_is_named(tmp_path):
    with pytest.raises(ImageError, match=r"none\.png: cannot be read: No such file"):
        read_crop(tmp_path / "none.png")


def test_the_hash_depends_on_pixels_and_shape_only(tmp_path):
    pixels = disc_crop(3)
    save(tmp_path / "a.png", np.dstack([pixels[..., 0], 0 * pixels[..., 0], pixels[..., 1]]), compress_level=9)
    assert crop_hash(read_crop(tmp_path / "a.png")) == crop_hash(pixels)
    assert crop_hash(pixels) != crop_hash(pixels.reshape(30, 120, 2))
    assert crop_hash(pixels[:, ::-1]) == crop_hash(pixels[:, ::-1].copy()) != crop_hash(pixels)
    assert {fold_of(crop_hash(disc_crop(seed)), 5) for seed in range(60)} == set(range(5))


def test_crops_are_found_below_a_folder_in_the_order_of_their_paths(tmp_path):
    for name in ("b.png", "a/z.PNG", "a/y.png", "notes.txt"):
        write_crop(tmp_path / name, disc_crop(0)) if name != "notes.txt" else (tmp_path / name).write_text("")
    assert [path.relative_to(tmp_path).as_posix() for path in find_crops(tmp_path)] == ["a/y.png", "a/z.PNG", "b.png"]
    with pytest.raises(DataError, match="no such folder"):
        find_crops(tmp_path / "none")


def test_labels_are_the_folders(tmp_path):
    written = write_crops(tmp_path, 3)
    found = load_labelled(tmp_path)
    assert [crop.label for crop in found] == [0, 0, 0, 1, 1, 1]
    assert all(np.array_equal(crop.pixels, written[crop.path.relative_to(tmp_path).as_posix()]) for crop in found)


@pytest.mark.parametrize("missing", ["cherry_clean", "cherry_pit", "both"])
def test_a_class_that_is_missing_or_empty_is_named(tmp_path, missing):
    write_crops(tmp_path, 2)
    if missing == "both":
        with pytest.raises(DataError, match="no such folder"):
            load_labelled(tmp_path / "none")
        return
    for path in (tmp_path / missing).iterdir():
        path.unlink()
    for use in (load_labelled, lambda folder: EmulatedSource(small_spec(), crops=RealCrops(folder))):
        with pytest.raises(DataError, match=f"no PNG in {missing}/"):
            use(tmp_path)


def assert_each_crop_lies_on_the_belt_pixel_for_pixel(folder, spec, limit=None):
    source = EmulatedSource(spec, crops=RealCrops(folder, limit))
    frames = frames_of(source)
    truths = source.all_truths()
    checked = set()
    for _, _, tick, planes in frames:
        for truth in truths:
            box = truth.box(tick, spec.px_per_tick)
            if box.y_px < 0 or box.y_px + box.height_px > spec.height_px:
                continue
            pixels = read_crop(folder / truth.path)
            body = extent(pixels.any(axis=2))
            cut = pixels[body.y_px : body.y_px + body.height_px, body.x_px : body.x_px + body.width_px]
            here = planes[:, box.y_px : box.y_px + box.height_px, box.x_px : box.x_px + box.width_px]
            mask = cut.any(axis=2)
            assert np.array_equal(np.moveaxis(here, 0, 2)[mask], cut[mask])
            assert truth.hash == crop_hash(pixels)
            assert truth.label == ("clean" if truth.path.startswith("cherry_clean") else "pit")
            checked.add(truth.path)
    assert not any(truth.cut_lateral or truth.touching is not None for truth in truths)
    return checked


def test_one_pass_lays_every_crop_once_pixel_for_pixel(tmp_path):
    written = write_crops(tmp_path)
    checked = assert_each_crop_lies_on_the_belt_pixel_for_pixel(tmp_path, small_spec(frames=None))
    assert checked == set(written)


def test_a_loop_of_crops_shows_them_pixel_for_pixel(tmp_path):
    written = write_crops(tmp_path, 3)
    spec = small_spec(frames=12, ring=6)
    assert assert_each_crop_lies_on_the_belt_pixel_for_pixel(tmp_path, spec) == set(written)


@pytest.mark.parametrize("start_tick", [1001, 100_000, -3000])
def test_one_pass_lays_every_crop_wherever_the_encoder_starts(tmp_path, start_tick):
    written = write_crops(tmp_path, 3)
    spec = small_spec(frames=None, start_tick=start_tick)
    assert assert_each_crop_lies_on_the_belt_pixel_for_pixel(tmp_path, spec) == set(written)


def test_a_limit_takes_that_many_crops(tmp_path):
    write_crops(tmp_path)
    source = EmulatedSource(small_spec(frames=None), crops=RealCrops(tmp_path, limit=5))
    paths = [truth.path for truth in source.all_truths()]
    assert len(paths) == len(set(paths)) == 5


@pytest.mark.parametrize(("height", "width"), [(400, 30), (30, 400)])
def test_a_crop_that_would_lie_over_another_or_the_edge_is_refused(tmp_path, height, width):
    for name in ("cherry_clean/a.png", "cherry_pit/b.png"):
        write_crop(tmp_path / name, np.full((height, width, 2), 90, np.uint8))
    with pytest.raises(SourceError, match=f"a crop of {width}x{height} px does not fit"):
        belt_of(small_spec(frames=None, width_px=400), crops=RealCrops(tmp_path))


def test_missing_crops_are_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere: no such folder; name the folder that holds cherry_clean"):
        EmulatedSource(small_spec(), crops=RealCrops(tmp_path / "nowhere"))


def test_the_seed_shuffles_the_crops(tmp_path):
    write_crops(tmp_path)
    orders = []
    for seed in (1, 2):
        source = EmulatedSource(small_spec(frames=None, seed=seed), crops=RealCrops(tmp_path))
        orders.append([truth.path for truth in sorted(source.all_truths(), key=lambda t: t.belt_px)])
    assert sorted(orders[0]) == sorted(orders[1])
    assert orders[0] != orders[1]


def test_more_frames_than_one_pass_begin_again(tmp_path):
    write_crops(tmp_path, 2)
    source = EmulatedSource(small_spec(frames=20), crops=RealCrops(tmp_path))
    paths = [truth.path for truth in source.all_truths()]
    assert len(paths) > 2 * len(set(paths)) == 8


def test_a_bad_crop_on_the_belt_is_named(tmp_path):
    write_crops(tmp_path, 3)
    (tmp_path / "cherry_pit" / "01.png").write_bytes(b"\x89PNG")
    with pytest.raises(ImageError, match=r"cherry_pit/01\.png"):
        belt_of(small_spec(frames=None), crops=RealCrops(tmp_path))


@pytest.mark.real_crops
def test_real_crops_lie_on_the_belt_pixel_for_pixel(real_crops):
    spec = small_spec(width_px=1200, height_px=300, advance_px=150, frames=None, seed=5)
    checked = assert_each_crop_lies_on_the_belt_pixel_for_pixel(real_crops, spec, limit=40)
    assert len(checked) == 40


def test_files_beside_the_classes_and_unusable_files_are_named(tmp_path, caplog):
    write_crops(tmp_path, 2)
    write_crop(tmp_path / "cherry_maybe" / "a.png", disc_crop(1))
    write_crop(tmp_path / "loose.png", disc_crop(1))
    (tmp_path / "cherry_pit" / "a.jpg").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("no picture, and nobody would think so")
    assert len(load_labelled(tmp_path)) == 4
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}: 2 skipped, in no class folder: cherry_maybe, loose.png",
        f"{tmp_path / 'cherry_pit'}: 1 skipped: a.jpg (not a PNG)",
    ]
