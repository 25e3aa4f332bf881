import pytest

from pitcore.doctor import devices
from tests.doctor.boards import PI4, PI5, board

TOP = "/base/axi/pcie@1000120000/rp1/i2c@88000/imx296@1a"
RIBBON = "/base/axi/pcie@1000120000/rp1/i2c@80000/imx477@1a"
MB = 1024**2


def test_cameras_that_are_there_are_good(tmp_path):
    check = devices.check_cameras(board(tmp_path, PI5), (TOP,))
    assert (check.status, check.found) == ("ok", "imx296 10-001a, imx296 11-001a")


def test_a_camera_that_is_missing_is_named_with_what_there_is(tmp_path):
    check = devices.check_cameras(board(tmp_path, PI5), (TOP, RIBBON))
    assert check.status == "fail"
    assert RIBBON in check.found
    assert TOP not in check.found
    assert "rpicam-hello --list-cameras" in check.fix


def test_two_cameras_of_one_kind_need_two_sensors(tmp_path):
    one = {name: text for name, text in PI5.items() if "subdev5" not in name}
    check = devices.check_cameras(board(tmp_path, one), (TOP, TOP.replace("88000", "80000")))
    assert check.status == "fail"


def test_a_configuration_without_cameras_asks_for_none(tmp_path):
    assert devices.check_cameras(board(tmp_path, {}), ()).status == "skip"


def test_a_camera_on_usb_is_looked_for_by_its_device(tmp_path):
    pi5 = board(tmp_path, PI5)
    assert devices.check_usb_camera(pi5, "/dev/video0").status == "ok"
    check = devices.check_usb_camera(pi5, "/dev/video7")
    assert (check.status, check.found) == ("fail", "/dev/video7 is not there; there is /dev/video0")
    assert "/dev/v4l/by-id" in check.fix


def test_devices_that_we_may_not_open_are_named(tmp_path):
    check = devices.check_permissions(board(tmp_path, PI5), lambda path: path.name != "gpiochip0")
    assert check.status == "fail"
    assert "/dev/gpiochip0" in check.found
    assert "usermod -aG video,gpio" in check.fix


def test_a_service_user_outside_the_groups_is_reported(tmp_path):
    group = "video:x:44:pi\ngpio:x:986:pi,pitcore\n"
    check = devices.check_permissions(board(tmp_path, PI5 | {"etc/group": group}), lambda _: True)
    assert check.status == "fail"
    assert check.found == "the service's user pitcore is not in video"
    assert "usermod -aG video pitcore" in check.fix


def test_open_devices_and_no_devices_are_no_fault(tmp_path):
    assert devices.check_permissions(board(tmp_path, PI5), lambda _: True).status == "ok"
    assert devices.check_permissions(board(tmp_path / "none", {}), lambda _: True).status == "skip"


@pytest.mark.parametrize(
    ("files", "needed", "status", "words"),
    [
        (PI5, 88 * MB, "ok", "heap vidbuf_cached"),
        (PI5, 310 * MB, "warn", "close programs"),
        (PI4, 88 * MB, "fail", "cma-128"),
        (PI4, 300 * MB, "fail", "cma-320"),
        (PI5, 0, "skip", ""),
        ({"proc/meminfo": "MemTotal: 1 kB\n"}, 88 * MB, "fail", "/dev/dma_heap"),
    ],
)
def test_camera_memory_that_is_short_says_how_much_to_reserve(tmp_path, files, needed, status, words):
    check = devices.check_camera_memory(board(tmp_path, files), needed)
    assert check.status == status
    assert words in check.found + check.fix


@pytest.mark.parametrize(("kept", "status"), [("Y\n", "warn"), ("N\n", "ok")])
def test_a_kernel_that_keeps_lines_driven_after_a_kill_is_reported_where_lines_are_driven(tmp_path, kept, status):
    pi5 = board(tmp_path, PI5 | {"sys/module/pinctrl_rp1/parameters/persist_gpio_outputs": kept})
    chips = {"pinctrl-rp1": "/dev/gpiochip0"}
    check = devices.check_gpio(pi5, chips, "pinctrl-rp1")
    assert check.status == status
    assert ("strict_gpiod" in check.fix) is (status == "warn")
    assert devices.check_gpio(pi5, chips, None).status == "ok"


def test_the_gpio_chip_is_found_by_its_label_whatever_its_number(tmp_path):
    pi5 = board(tmp_path, PI5)
    assert devices.check_gpio(pi5, {"pinctrl-rp1": "/dev/gpiochip4"}, "pinctrl-rp1").status == "ok"
    assert devices.check_gpio(pi5, {"pinctrl-rp1": "/dev/gpiochip0"}, None).status == "ok"  # the board's own


def test_a_missing_chip_label_fails_only_where_lines_are_driven(tmp_path):
    pi5 = board(tmp_path, PI5)
    check = devices.check_gpio(pi5, {"pinctrl-bcm2711": "/dev/gpiochip0"}, "pinctrl-rp1")
    assert check.status == "fail"
    assert "pinctrl-bcm2711 (/dev/gpiochip0)" in check.found
    assert "gpiodetect" in check.fix
    assert devices.check_gpio(pi5, {}, None).status == "warn"
    assert devices.check_gpio(pi5, {}, "pinctrl-rp1").fix.startswith("install python3-libgpiod, or reinstall pitcore (")
    assert devices.check_gpio(board(tmp_path / "laptop", {}), {}, None).status == "skip"
