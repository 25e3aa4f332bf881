from tests.cli.program import run_pitcore


def test_a_missing_store_shows_the_free_space_of_its_future_disk(tmp_path):
    done = run_pitcore("update", "status", "--store", tmp_path / "var" / "store", cwd=tmp_path)
    assert "there is no store yet" in done.stdout, done.stderr
    assert ", 0 MB free" not in done.stdout
    assert "ERROR  the service does not answer" in done.stdout
    assert done.stdout.count("ERROR") == 1  # an empty store is none
