from tests.cli.program import assert_one_clear_line, run_pitcore


def test_a_missing_store_shows_the_free_space_of_its_future_disk(tmp_path):
    done = run_pitcore("update", "status", "--store", tmp_path / "var" / "store", cwd=tmp_path)
    assert "there is no store yet" in done.stdout, done.stderr
    assert ", 0 MB free" not in done.stdout
    assert "ERROR  the service does not answer" in done.stdout
    assert done.stdout.count("ERROR") == 1  # an empty store is none


def test_a_command_with_nothing_to_do_is_refused_and_is_no_failed_update(tmp_path):
    store = tmp_path / "store"
    for command in ("commit", "rollback"):
        done = run_pitcore("update", command, "--store", store, cwd=tmp_path)
        assert_one_clear_line(done)
        status = run_pitcore("update", "status", "--store", store, cwd=tmp_path).stdout
        assert "last update" not in status
