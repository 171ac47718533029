"""Rows about the blob of an index, mounted as a file."""

import json
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from setting import MIB, Failure, Row, judged, median, ratio, read, same, speed

COLD_TIMES, COLD_SPEED = 6.0, 600e6
WARM_SHARE = 0.95
PASSTHROUGH_SHARE = 0.9
RANDOM_TIMES, READS = 5.0, 6000
FAR_SHARE, LATENCY = 0.7, 0.020
MEMORY = 256 * MIB
# Reading what is in memory takes some 30 ms: the best of so many passes is a sample.
PASSES = 9
# cairn's own server answers many requests in one, any other each by itself.
SERVERS = {"cairn": "cairn chunk-server", "nginx": "nginx"}

NGINX = """
daemon off; worker_processes 1; pid {work}/nginx.pid; error_log /dev/null;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;
  client_body_temp_path {work}/t; proxy_temp_path {work}/t; fastcgi_temp_path {work}/t;
  uwsgi_temp_path {work}/t; scgi_temp_path {work}/t;
  server {{ listen 127.0.0.1:{port}; root {store}; }}
}}
"""


def cold(setting):
    """In order, from beginning to end, once."""
    programs = peers(setting, "desync")
    samples = {program: [] for program in programs}
    for program in programs:
        with setting.mounted(program, setting.blob_index) as mount:
            check(program, mount.file, setting.blob)
    for _ in setting.rounds:
        for program in programs:
            with setting.mounted(program, setting.blob_index) as mount:
                samples[program].append(read(mount.file))
    ours = samples["cairn"]
    what = "read in order, cold"
    yield judged(what, speed(ours), f"{COLD_SPEED / 1e6:.0f} MB/s", median(ours) >= COLD_SPEED)
    if "desync" in samples:
        yield compared(what, samples, "desync", COLD_TIMES, speed)


def warm(setting):
    """What the kernel has in memory, beside plain files of which it has everything too."""
    with setting.mounted("cairn", setting.blob_index) as mount:
        check("cairn", mount.file, setting.blob)
        files = {"cairn": mount.file, "a file on disk": setting.on_disk, "a file in a tmpfs": setting.blob}
        samples = in_turn(setting, files)
    yield compared("read in order, warm", samples, "a file on disk", WARM_SHARE, speed)
    yield compared("read in order, warm", samples, "a file in a tmpfs", None, speed)


def passthrough(setting):
    """A copy-on-read file that was filled by an earlier mount. Each mount is read once: a second time the kernel would have
    it from the first, whoever gave it that."""
    copy, state = setting.disk / "copy", setting.disk / "state"
    flags = ["--cor-file", copy, "--cor-state-save", state]
    with setting.mounted("cairn", setting.blob_index, *flags) as mount:
        read(mount.file)
    with setting.mounted("cairn", setting.blob_index, *flags) as mount:
        check("cairn", mount.file, setting.blob)
    samples = {"cairn": [], "that file itself": []}
    for _ in setting.rounds:
        fastest = [0, 0]
        for _ in range(PASSES):
            with setting.mounted("cairn", setting.blob_index, *flags) as mount:
                fastest = [max(pair) for pair in zip(fastest, (read(mount.file), read(copy)))]
        samples["cairn"].append(fastest[0])
        samples["that file itself"].append(fastest[1])
    yield compared("read in order, cold, all of it in `--cor-file`", samples, "that file itself", PASSTHROUGH_SHARE, speed)


def random_reads(setting):
    """4 KiB anywhere, in two threads at once: so many reads of a new mount, and so many seconds, after which cairn and the
    kernel have much of it in memory."""
    programs = peers(setting, "desync")
    seconds = setting.options.seconds
    ways = {f"the first {READS:,}": {"reads": READS}, f"the first {seconds} s": {"seconds": seconds}}
    samples = {way: {program: [] for program in programs} for way in ways}
    for _ in setting.rounds:
        for way, limit in ways.items():
            for program in programs:
                with setting.mounted(program, setting.blob_index) as mount:
                    samples[way][program].append(fio(mount.file, **limit))
    # While they are few, nearly each needs a chunk of its own, and what that costs to check and to decompress is the limit.
    for (way, of_way), goal in zip(samples.items(), (None, RANDOM_TIMES)):
        what = f"4 KiB at random, 2 jobs, cold, {way}"
        if "desync" in of_way:
            yield compared(what, of_way, "desync", goal, reads_a_second)
        else:
            yield Row(what, reads_a_second(of_way["cairn"]))


def far(setting):
    """A store to which every request takes a while longer, beside an extract from it."""
    index, out = setting.blob_index, setting.work / "out"
    for server in peers(setting, "nginx"):
        samples = {"cairn": [], "`extract -n 10`": []}
        with far_store(setting, server) as url:
            for _ in setting.rounds:
                with setting.mounted("cairn", index, "-n", "10", store=url) as mount:
                    samples["cairn"].append(read(mount.file))
                began = time.monotonic()
                setting.run(setting.options.cairn, "extract", "-n", "10", "-s", url, index, out)
                samples["`extract -n 10`"].append(out.stat().st_size / (time.monotonic() - began))
                check("cairn", out, setting.blob)
                out.unlink()
        what = f"read in order, cold, {SERVERS[server]} {LATENCY * 1e3:.0f} ms away"
        yield compared(what, samples, "`extract -n 10`", FAR_SHARE, speed)


def memory(setting):
    """The most a mount has at once of a blob that is larger than that."""
    jobs = {"all was read in order": read, "reads at random": lambda file: fio(file, seconds=3 * setting.options.seconds)}
    for title, job in jobs.items():
        with setting.mounted("cairn", setting.both_index) as mount:
            job(mount.file)
            most, size = mount.memory(), mount.file.stat().st_size
        what = f"memory after {title}, {size // MIB} MiB"
        yield judged(what, f"{most // MIB} MiB", f"{MEMORY // MIB} MiB", most <= MEMORY)


def peers(setting, *names):
    return ["cairn", *(name for name in names if name not in setting.absent)]


def check(program, file, blob):
    if not same(file, blob):
        raise Failure(f"what {program} has at {file} is not what was stored")


def compared(what, samples, peer, goal, form):
    ours, theirs = samples["cairn"], samples[peer]
    times = ratio(ours, theirs)
    cells = {"beside": f"{peer}: {form(theirs)}", "ratio": f"{times:.2f}"}
    return Row(what, form(ours), **cells) if goal is None else judged(what, form(ours), f"{goal:g}", times >= goal, **cells)


def reads_a_second(rates):
    return f"{median(rates):,.0f} reads/s"


def in_turn(setting, files):
    """The speeds of files that are in memory already, or are after a first pass."""
    samples = {name: [] for name in files}
    for path in files.values():
        read(path)
    for _ in setting.rounds:
        passes = [[read(path) for path in files.values()] for _ in range(PASSES)]
        for name, speeds in zip(files, zip(*passes)):
            samples[name].append(max(speeds))
    return samples


def fio(file, seconds=None, reads=None):
    """Reads per second, for so many seconds or until so many are done."""
    jobs = 2
    # Nothing twice if they are counted, as then it would not be cold.
    limit = ["--norandommap", "--time_based", f"--runtime={seconds}"] if seconds else [f"--number_ios={reads // jobs}"]
    command = ["fio", "--name=random", f"--filename={file}", "--readonly", "--rw=randread", "--bs=4k", f"--numjobs={jobs}",
               "--ioengine=psync", "--direct=0", "--group_reporting", "--output-format=json", *limit]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failure(f"fio: {done.stderr.strip()}")
    # It may say something before its report.
    job, = json.loads(done.stdout[done.stdout.index("{"):])["jobs"]
    if job["error"] or job["read"]["total_ios"] < (reads or 1):
        raise Failure(f"fio could not read {file}")
    return job["read"]["iops"]


@contextmanager
def far_store(setting, server):
    """The store behind a server on this machine and a proxy that keeps every request for a while; gives its URL."""
    port = free_port()
    command = [setting.options.cairn, "chunk-server", "-s", setting.store, "-l", f"127.0.0.1:{port}"]
    if server == "nginx":
        (setting.work / "nginx.conf").write_text(NGINX.format(work=setting.work, port=port, store=setting.store))
        # Its workers may be another user.
        setting.work.chmod(0o755)
        command = ["nginx", "-p", setting.work, "-e", "/dev/null", "-c", setting.work / "nginx.conf"]
    with running(command, setting.environment()):
        wait_for(port)
        delay = [sys.executable, Path(__file__).with_name("delay.py"), str(port), str(LATENCY)]
        with running(delay, None) as proxy:
            yield f"http://127.0.0.1:{int(proxy.stdout.readline())}/"


@contextmanager
def running(command, environment):
    process = subprocess.Popen([str(word) for word in command], env=environment, text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def wait_for(port):
    for _ in range(1000):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.01)
    raise Failure("a server does not listen")


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
