from tests.cli.program import run_pitcore


def test_a_store_that_is_not_there_yet_has_the_room_of_the_disk_it_will_lie_on(tmp_path):
    done = run_pitcore("update", "status", "--store", tmp_path / "var" / "store", cwd=tmp_path)
    assert "there is no store yet" in done.stdout, done.stderr
    assert ", 0 MB free" not in done.stdout
