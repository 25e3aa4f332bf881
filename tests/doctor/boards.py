"""Files of the kernel of real boards in a folder. Sources: Raspberry Pi OS (bookworm) on each board."""

from pitcore.doctor.check import SystemRoot

CPUINFO = "processor\t: 0\nFeatures\t: {features}\nCPU implementer\t: 0x41\nCPU part\t: {part}\n"
A76 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"
PI5 = {
    "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
    "proc/cpuinfo": CPUINFO.format(features=A76, part="0xd0b"),
    "proc/meminfo": "MemTotal:        8255712 kB\nCmaTotal:         327680 kB\nCmaFree:          300000 kB\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance\n",
    "sys/devices/system/cpu/cpu3/cpufreq/scaling_governor": "performance\n",
    "sys/class/thermal/thermal_zone0/temp": "51750\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "0\n",
    "sys/devices/system/clocksource/clocksource0/current_clocksource": "arch_sys_counter\n",
    "run/systemd/timesync/synchronized": "",
    "sys/class/video4linux/v4l-subdev2/name": "imx296 10-001a\n",
    "sys/class/video4linux/v4l-subdev5/name": "imx296 11-001a\n",
    "sys/class/video4linux/v4l-subdev0/name": "csi2\n",
    "sys/class/video4linux/video0/name": "rp1-cfe-csi2_ch0\n",
    "dev/dma_heap/vidbuf_cached": "",
    "dev/dma_heap/linux,cma": "",
    "dev/media0": "",
    "dev/video0": "",
    "dev/gpiochip0": "",
    "etc/passwd": "root:x:0:0::/root:/bin/sh\npitcore:x:996:996::/var/lib/pitcore:/usr/sbin/nologin\n",
    "etc/group": "root:x:0:\nvideo:x:44:pi,pitcore\ngpio:x:986:pi,pitcore\n",
}
PI4 = PI5 | {
    "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
    "proc/cpuinfo": CPUINFO.format(features="fp asimd evtstrm crc32 cpuid", part="0xd08"),
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
    "sys/devices/system/cpu/cpu3/cpufreq/scaling_governor": "ondemand\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
    "proc/meminfo": "CmaTotal:          65536 kB\nCmaFree:           60000 kB\n",
}


def board(root, files, **changes):
    """Write the files of a board; a change of None removes a file."""
    for name, text in (files | {key: value for key, value in changes.items() if "/" in key}).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text is not None:
            path.write_text(text)
    return SystemRoot(root)
