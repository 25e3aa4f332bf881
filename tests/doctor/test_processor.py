import pytest

from pitcore.doctor import processor
from tests.doctor.boards import PI4, PI5, board

THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"
TEMP = "sys/class/thermal/thermal_zone0/temp"
CLOCK = "sys/devices/system/clocksource/clocksource0/current_clocksource"


def test_a_good_board_gets_no_advice(tmp_path):
    pi5 = board(tmp_path, PI5)
    checks = [
        processor.check_features(pi5, "neon"),
        processor.check_governor(pi5),
        processor.check_heat(pi5),
        processor.check_throttling(pi5),
        processor.check_clock_source(pi5),
        processor.check_time(pi5, now_s=2.0, built_s=1.0),
    ]
    assert [(check.status, check.fix) for check in checks] == [("ok", "")] * 6
    assert "Cortex-A76, segmentation by neon, int8 dot product" in checks[0].found
    assert checks[2].found == "52 C"


def test_a_processor_without_dot_product_is_reported(tmp_path):
    check = processor.check_features(board(tmp_path, PI4), "neon")
    assert check.status == "warn"
    assert "Cortex-A72" in check.found
    assert "pitcore-bench" in check.fix


@pytest.mark.parametrize(("flag", "status"), [("avx512_vnni", "ok"), ("avx_vnni", "ok"), ("avx2", "warn")])
def test_an_x86_is_judged_by_the_same_rule(tmp_path, flag, status):
    cpuinfo = f"model name\t: Some Core\nflags\t\t: fpu sse2 {flag}\n"
    check = processor.check_features(board(tmp_path, {"proc/cpuinfo": cpuinfo}), "avx2")
    assert check.status == status
    assert "Some Core" in check.found
    assert ("six times as long as with VNNI" in check.fix) == (flag == "avx2")
    assert "Pi 5" not in check.fix, "a workstation is not compared with a board"


def test_a_scalar_kernel_or_a_missing_proc_is_reported(tmp_path):
    assert "64-bit Arm" in processor.check_features(board(tmp_path, PI5), "scalar").fix
    assert "mount /proc" in processor.check_features(board(tmp_path / "none", {}), "neon").fix


def test_a_clock_that_scales_with_load_is_reported(tmp_path):
    check = processor.check_governor(board(tmp_path, PI4))
    assert (check.status, check.found) == ("warn", "ondemand")
    assert "scaling_governor" in check.fix


@pytest.mark.parametrize(("milli", "status"), [("74000", "ok"), ("75000", "warn"), ("84000", "fail")])
def test_heat_is_reported_before_it_throttles(tmp_path, milli, status):
    check = processor.check_heat(board(tmp_path, PI5 | {TEMP: milli}))
    assert check.status == status
    assert ("heat sink" in check.fix) == (status != "ok")


@pytest.mark.parametrize(
    ("word", "status", "found", "fix"),
    [
        ("50005", "fail", "under-voltage now", "power supply"),
        ("50000", "warn", "under-voltage has been", "power supply"),
        ("80008", "fail", "soft heat limit now", "heat sink"),
        ("e0000", "warn", "throttling has been", "heat sink"),
    ],
)
def test_throttling_is_reported_with_cause_and_fix(tmp_path, word, status, found, fix):
    check = processor.check_throttling(board(tmp_path, PI5 | {THROTTLED: word}))
    assert check.status == status
    assert found in check.found
    assert fix in check.fix


def test_the_firmware_is_found_whatever_its_bus_is_called(tmp_path):
    word = "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled"
    assert processor.check_throttling(board(tmp_path, {word: "50005\n"})).status == "fail"


def test_a_coarse_clock_source_is_reported(tmp_path):
    assert processor.check_clock_source(board(tmp_path, PI5 | {CLOCK: "hpet"})).status == "warn"


def test_a_wall_clock_without_synchronisation_or_before_the_installation_is_reported(tmp_path):
    alone = board(tmp_path, {"run/nothing": ""})
    assert processor.check_time(alone, now_s=2.0, built_s=1.0).status == "warn"
    check = processor.check_time(alone, now_s=1.0, built_s=2.0)
    assert check.status == "fail"
    assert "timedatectl" in check.fix
    kept = board(tmp_path / "chrony", {"run/chrony/chronyd.pid": "1"})
    assert processor.check_time(kept, now_s=2.0, built_s=1.0).status == "ok"


def test_a_machine_without_these_things_is_not_blamed(tmp_path):
    bare = board(tmp_path, {"proc/cpuinfo": "flags : avx_vnni\n"})
    found = [
        processor.check_governor(bare),
        processor.check_heat(bare),
        processor.check_throttling(bare),
        processor.check_clock_source(bare),
    ]
    assert [check.status for check in found] == ["skip"] * 4


@pytest.mark.parametrize(
    ("workers", "threads", "cores", "fix"),
    [
        (3, 1, 4, ""),
        (1, 1, 1, ""),
        (64, 1, 2, "set [runtime] workers = 1: one core is left"),
        (4, 1, 4, "set [runtime] workers = 3"),
        (1, 8, 4, "set [runtime] threads = 3"),
        (9, 9, 4, "set [runtime] workers = 3 and threads = 3"),
    ],
)
def test_workers_leave_a_core_for_cameras_and_valves(workers, threads, cores, fix):
    check = processor.check_workers(workers, threads, cores)
    assert check.status == ("warn" if fix else "ok")
    assert check.fix.startswith(fix)
