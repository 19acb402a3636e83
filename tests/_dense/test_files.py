"""Saved networks: whole or not at all when written, believed nothing when read."""

import doctest
import errno
import itertools
import json
import os
import pickle
import stat
import subprocess
import sys
import threading
import tracemalloc
import zipfile
from io import BytesIO

import numpy as np
import pytest

import fastgrad as fg
from fastgrad._dense.activations import ACTIVATIONS, OUTPUTS

HEADER = {
    "format": "fastgrad.MLP", "version": 1, "sizes": [2, 3, 1], "activations": ["tanh", "identity"],
    "members": None, "dtype": "float32",
}  # fmt: skip
N_PARAMETERS = 13


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.npz"


def a_net(**options):
    return fg.MLP([2, 3, 1], activation="tanh", rng=0, **options)


def saved(net, path):
    net.save(path)
    return path.read_bytes()


def is_same(net, other):
    return (
        net.sizes == other.sizes
        and net.dtype == other.dtype
        and net.members == other.members
        and [a.name for a in net._activations] == [a.name for a in other._activations]
        and net.parameters.tobytes() == other.parameters.tobytes()
    )


def npy(array, **options):
    file = BytesIO()
    np.lib.format.write_array(file, array, **options)
    return file.getvalue()


def archive(members, compression=zipfile.ZIP_STORED):
    """An archive of the members, given as pairs of a name and bytes."""
    file = BytesIO()
    with zipfile.ZipFile(file, "w", compression) as made:
        for name, content in members:
            made.writestr(zipfile.ZipInfo(name), content, compression)
    return file.getvalue()


def network_file(header=HEADER, parameters=None, **more):
    """A file that is right but for what is given."""
    text = header if isinstance(header, str) else json.dumps(header)
    if parameters is None:
        parameters = npy(np.ones(N_PARAMETERS, "<f4"))
    return archive([("header.npy", npy(np.array(text))), ("parameters.npy", parameters)], **more)


# ---- there and back


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("members", [None, 1, 3])
@pytest.mark.parametrize("sizes", [[1, 1], [3, 5, 2], [4, 7, 1, 6, 3]])
def test_a_network_comes_back_bit_by_bit(path, sizes, members, dtype):
    net = fg.MLP(sizes, dtype=dtype, members=members, rng=1)
    net.save(path)
    again = fg.MLP.load(path)
    assert is_same(net, again)
    X = np.random.default_rng(2).normal(size=(5, sizes[0]))
    assert np.array_equal(net(X), again(X))
    assert again.parameters.flags.writeable
    assert vars(again).keys() == vars(net).keys()
    assert is_same(pickle.loads(pickle.dumps(again)), net)


def test_every_activation_comes_back_in_its_place(path):
    names = list(ACTIVATIONS)
    for output in OUTPUTS:
        net = fg.MLP([2] * (len(names) + 2), activation=names, output=output, rng=0)
        net.save(path)
        assert is_same(net, fg.MLP.load(path))


def test_numbers_that_are_not_finite_are_kept(path):
    net = a_net()
    net.parameters[:4] = [np.nan, np.inf, -np.inf, -0.0]
    net.save(path)
    assert is_same(net, fg.MLP.load(path))


def test_numpy_reads_the_file_without_pickle(path):
    net = a_net(members=2)
    net.save(path)
    with np.load(path, allow_pickle=False) as found:
        assert json.loads(str(found["header"])) == HEADER | {"members": 2}
        assert np.array_equal(found["parameters"], net.parameters)


def test_what_numpy_writes_is_read(path):
    net = a_net()
    np.savez(path, header=np.array(json.dumps(HEADER)), parameters=net.parameters)
    assert is_same(net, fg.MLP.load(path))


def test_the_same_network_gives_the_same_bytes(path):
    assert saved(a_net(), path) == saved(a_net(), path)


def test_a_network_can_be_saved_by_a_callback_and_trained_further(path):
    X, y = np.random.default_rng(0).normal(size=(2, 40, 2)).astype(np.float32)
    net = a_net()
    net.fit(X, y[:, :1], epochs=2, rng=0, callback=lambda *about: net.save(path) and None)
    again = fg.MLP.load(path)
    assert is_same(net, again)
    for each in (net, again):
        each.fit(X, y[:, :1], epochs=1, rng=1)
    assert is_same(net, again)


@pytest.mark.parametrize("name", ["save", "load", "to_numpy", "to_onnx"])
def test_the_examples_of_the_methods_print_what_they_say(name):
    if name == "to_onnx":
        pytest.importorskip("onnx")
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    (case,) = doctest.DocTestFinder(recurse=False).find(getattr(fg.MLP, name), name, globs={"fg": fg, "np": np})
    runner.run(case)
    assert runner.tries
    assert not runner.failures


def test_a_loaded_network_can_be_saved_and_changed(path):
    first = saved(a_net(), path)
    net = fg.MLP.load(path)
    assert saved(net, path) == first
    net.parameters[0] += 1
    assert saved(net, path) != first


# ---- paths


def test_a_path_is_taken_as_it_is(tmp_path, monkeypatch):
    net = a_net()
    monkeypatch.chdir(tmp_path)
    for path in ["plain", tmp_path / "object.npz", os.fsencode(tmp_path / "bytes"), "n" * 255]:
        net.save(path)
        assert is_same(net, fg.MLP.load(path))
    assert sorted(os.listdir(tmp_path)) == sorted(["plain", "object.npz", "bytes", "n" * 255])


@pytest.mark.parametrize("path", [None, 3, ["a"], BytesIO()])
def test_what_names_no_file_is_refused(path):
    with pytest.raises(TypeError, match="path is"):
        a_net().save(path)
    with pytest.raises(TypeError, match="path is"):
        fg.MLP.load(path)


def test_a_folder_or_a_missing_file_is_refused(tmp_path):
    with pytest.raises(FileExistsError, match="no regular file"):
        a_net().save(tmp_path)
    with pytest.raises(FileNotFoundError):
        a_net().save(tmp_path / "none" / "net.npz")
    with pytest.raises(FileNotFoundError):
        fg.MLP.load(tmp_path / "net.npz")
    with pytest.raises(ValueError, match="no regular file"):
        fg.MLP.load(tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_pipe_neither_blocks_nor_is_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ValueError, match="no regular file"):
        fg.MLP.load(pipe)
    with pytest.raises(FileExistsError, match="no regular file"):
        a_net().save(pipe)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_link_stays_and_its_file_is_replaced(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    a_net().save(link)
    assert link.is_symlink()
    assert is_same(a_net(), fg.MLP.load(target))


def test_permissions_are_those_of_a_plain_write(tmp_path):
    before = os.umask(0o027)
    try:
        a_net().save(tmp_path / "new")
        (tmp_path / "plain").write_bytes(b"")
    finally:
        os.umask(before)
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "plain").stat().st_mode
    (tmp_path / "new").chmod(0o600)
    a_net().save(tmp_path / "new")
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600


def test_functions_of_the_user_are_refused_whatever_their_name(path):
    def tanh(z):
        return 2 * np.tanh(z)

    for options in [{"activation": tanh}, {"output": tanh}]:
        with pytest.raises(TypeError, match="a function of yours"):
            fg.MLP([2, 3, 1], **options).save(path)
    assert not path.exists()
    fg.MLP([2, 3, 1], activation=np.tanh).save(path)  # NumPy's own has a name
    assert fg.MLP.load(path)._activations[0].name == "tanh"


# ---- failures while writing


class Failing:
    """Replaces functions so that the k-th call of any of them fails, once."""

    def __init__(self, monkeypatch, k, error):
        self.calls, self.k, self.error = 0, k, error
        for name in ["open", "fsync", "replace", "close"]:
            monkeypatch.setattr(os, name, self.wrapped(getattr(os, name), name == "close"))
        fdopen = os.fdopen

        def opened(*args):
            return Writer(fdopen(*args), self)

        monkeypatch.setattr(os, "fdopen", opened)

    def wrapped(self, function, is_done_first=False):
        def call(*args):
            if is_done_first:  # a failing close still closes
                function(*args)
            self.count()
            return None if is_done_first else function(*args)

        return call

    def count(self):
        self.calls += 1
        if self.calls == self.k:
            raise self.error


class Writer:
    """A file that writes half of a piece, then fails."""

    def __init__(self, file, failing):
        self.file, self.failing = file, failing

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def __getattr__(self, name):
        return getattr(self.file, name)

    def write(self, data):
        try:
            self.failing.count()
        except BaseException:
            self.file.write(bytes(data)[: len(data) // 2])
            raise
        return self.file.write(data)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "no space"), KeyboardInterrupt()], ids=["full", "ctrl-c"])
def test_a_failure_at_any_step_leaves_one_file_and_that_whole(tmp_path, error):
    path, old, new = tmp_path / "net.npz", a_net(), a_net()
    new.parameters[...] = 7
    n_failed = n_old = 0
    for k in itertools.count(1):
        old.save(path)
        with pytest.MonkeyPatch.context() as patched:
            failing = Failing(patched, k, error)
            try:
                new.save(path)
                has_failed = False
            except type(error):
                has_failed = True
        assert os.listdir(tmp_path) == ["net.npz"]
        found = fg.MLP.load(path)
        assert is_same(found, old) or is_same(found, new)
        n_failed += has_failed
        n_old += is_same(found, old)
        if not has_failed:
            assert failing.calls < k
            break
    # open, at least the two members and the list, two syncs, the new name
    assert n_failed >= 10
    assert n_old >= n_failed - 3  # what fails after the new name is in place: opening, syncing, closing the folder


def test_a_process_killed_at_any_write_leaves_the_old_file(tmp_path):
    code = """if True:
        import os, sys
        import fastgrad as fg
        path = sys.argv[1]
        net = fg.MLP([2, 3, 1], activation="tanh", rng=0)
        net.save(path)
        old = net.parameters.tobytes()
        net.parameters[...] = 7
        new = net.parameters.tobytes()
        fdopen, fsync, replace = os.fdopen, os.fsync, os.replace
        n_killed, k = 0, 0
        while True:
            k += 1
            child = os.fork()
            if not child:
                count = 0
                def step():
                    global count
                    count += 1
                    if count == k:
                        os._exit(9)
                def stepping(function):
                    return lambda *args: (step(), function(*args))[1]
                class Unbuffered:
                    def __init__(self, *args): self.file = fdopen(*args, 0)
                    def __getattr__(self, name): return getattr(self.file, name)
                    def __enter__(self): return self
                    def __exit__(self, *error): self.file.close()
                    def write(self, data): step(); return self.file.write(data)
                os.fdopen, os.fsync, os.replace = Unbuffered, stepping(fsync), stepping(replace)
                net.save(path)
                os._exit(0)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            assert status in (0, 9), status
            if status == 0:
                break
            n_killed += 1
            found = fg.MLP.load(path).parameters.tobytes()
            assert found in (old, new), k
        assert fg.MLP.load(path).parameters.tobytes() == new
        print(n_killed)
    """
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "net.npz")], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 8


def test_the_bytes_are_on_the_disk_before_the_name(path, monkeypatch):
    order = []
    for name in ["fsync", "replace"]:
        function = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, name=name, f=function: (order.append(name), f(*args))[1])
    a_net().save(path)
    assert order == ["fsync", "replace", "fsync"]


def test_a_file_system_that_cannot_sync_folders_will_do(path, monkeypatch):
    fsync = os.fsync

    def only_files(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "invalid argument")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", only_files)
    a_net().save(path)
    assert is_same(fg.MLP.load(path), a_net())


def test_savers_at_once_leave_one_whole_file(path):
    nets = [a_net() for _ in range(4)]
    for i, net in enumerate(nets):
        net.parameters[...] = i
    workers = [threading.Thread(target=lambda net=net: [net.save(path) for _ in range(20)]) for net in nets]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert any(is_same(fg.MLP.load(path), net) for net in nets)
    assert os.listdir(path.parent) == [path.name]


# ---- damaged and hostile files


def put(path, content):
    """Write the file anew. One cut to nothing and filled again would be on the disk before it is closed: slow."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def refusal(path, content):
    """What `load` says of the content, having allocated little."""
    put(path, content)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="is not a saved network: ") as caught:
            fg.MLP.load(path)
        assert tracemalloc.get_traced_memory()[1] < 8e6 + 2 * len(content)
    finally:
        tracemalloc.stop()
    text = str(caught.value)
    assert str(path) in text
    assert len(text) < len(str(path)) + 600
    return text.split("is not a saved network: ")[1]


def test_a_file_cut_off_at_any_byte_is_refused(path):
    content = saved(a_net(), path)
    for n in range(len(content)):
        refusal(path, content[:n])


def test_a_flipped_bit_is_refused_or_harmless(path):
    whole = a_net()
    content = saved(whole, path)
    n_refused = 0
    for place, bit in itertools.product(range(len(content)), range(8)):
        changed = bytearray(content)
        changed[place] ^= 1 << bit
        put(path, changed)
        try:
            net = fg.MLP.load(path)
        except ValueError:
            n_refused += 1
        else:
            assert is_same(net, whole), (place, bit)
    assert n_refused > 0.7 * 8 * len(content)


class Pickled:
    """Runs when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("was-run",)


PARAMETERS = npy(np.ones(N_PARAMETERS, "<f4"))
TEXT = npy(np.array(json.dumps(HEADER)))
BOTH = [("header.npy", TEXT), ("parameters.npy", PARAMETERS)]


def claiming(shape, descr="<f4", n_bytes=0):
    """An array's header with fewer bytes behind it than it claims."""
    file = BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue() + bytes(n_bytes)


def patched(content, n_bytes):
    """The archive with another size of its parameters in the list of members, compressed and not."""
    start = content.rindex(b"PK\1\2")
    sizes = n_bytes.to_bytes(4, "little") * 2
    return content[: start + 20] + sizes + content[start + 28 :]


def encrypted(content):
    start = content.rindex(b"PK\1\2")
    return content[: start + 8] + b"\1" + content[start + 9 :]


def without_pickle_load():
    return np.array([Pickled()], object)


BOMB = {
    "header": HEADER | {"sizes": [2**14, 2**14], "activations": ["tanh"]},
    "parameters": claiming(((2**14 + 1) * 2**14,), n_bytes=10**6),
}
HOSTILE = {
    "empty": (b"", "no .npz"),
    "text": (b"hello, world" * 100, "no .npz"),
    "pickle": (pickle.dumps([1.0] * 100), "no .npz"),
    "array": (PARAMETERS, "no .npz"),
    "no members": (archive([]), "no .npz"),
    "no header": (archive(BOTH[1:]), "members are"),
    "no parameters": (archive(BOTH[:1]), "members are"),
    "a third member": (archive([*BOTH, ("x.npy", TEXT)]), "members are"),
    "a path outside": (archive([("../header.npy", TEXT), BOTH[1]]), "members are"),
    "thousands of members": (archive([(f"{i}.npy", b"") for i in range(5000)]), "list of members"),
    "compressed": (network_file(compression=zipfile.ZIP_DEFLATED), "is compressed"),
    "lzma": (network_file(compression=zipfile.ZIP_LZMA), "is compressed"),
    "a bomb": (network_file(**BOMB, compression=zipfile.ZIP_DEFLATED), "is compressed"),
    "a stored bomb": (network_file(**BOMB), "have 1000000 bytes"),
    "a member of 4 GB": (patched(network_file(), 2**32 - 2), "claims 4294967294 bytes"),
    "a member too long": (patched(network_file(), len(PARAMETERS) + 4), "damaged"),
    "a member too short": (patched(network_file(), len(PARAMETERS) - 4), "damaged"),
    "a long name": (network_file().replace(b"\x0e\0\0\0parameters", b"\xff\0\0\0parameters"), "File name in directory"),
    "encrypted": (encrypted(network_file()), "damaged"),
    "huge layers": (network_file(HEADER | {"sizes": [2**31 - 1] * 3}), "more than 1073741824"),
    "large layers": (network_file(HEADER | {"sizes": [2**14] * 3}), "layers have parameters"),
    "layers beyond 64 bits": (network_file(HEADER | {"sizes": [10**30, 2, 1]}), "the sizes"),
    "many members": (network_file(HEADER | {"members": 2**31 - 1}), "layers have parameters"),
    "no member": (network_file(HEADER | {"members": 0}), "0 members"),
    "a layer of nothing": (network_file(HEADER | {"sizes": [2, 0, 1]}), "the sizes"),
    "a negative layer": (network_file(HEADER | {"sizes": [-2, -3, 1]}), "the sizes"),
    "a layer of true": (network_file(HEADER | {"sizes": [True, 3, 1]}), "the sizes"),
    "a layer of 3.0": (network_file(HEADER | {"sizes": [2, 3.0, 1]}), "the sizes"),
    "a layer of nan": (network_file(HEADER | {"sizes": [2, float("nan"), 1]}), "the sizes"),
    "sizes of text": (network_file(HEADER | {"sizes": "231"}), "the sizes"),
    "one layer": (network_file(HEADER | {"sizes": [13]}), "the sizes"),
    "a long list": (network_file(HEADER | {"sizes": [0] * 50_000}), "the sizes"),
    "too few activations": (network_file(HEADER | {"activations": ["tanh"]}), "for 2 layers"),
    "an unknown activation": (network_file(HEADER | {"activations": ["os.system", "tanh"]}), "os.system"),
    "a hidden softmax": (network_file(HEADER | {"activations": ["softmax", "tanh"]}), "softmax"),
    "an activation of a list": (network_file(HEADER | {"activations": [[], "tanh"]}), "activation"),
    "a dtype of objects": (network_file(HEADER | {"dtype": "object"}), "the dtype"),
    "a dtype of a dict": (network_file(HEADER | {"dtype": {}}), "the dtype"),
    "another format": (network_file(HEADER | {"format": "x"}), "does not name the format"),
    "a later version": (network_file(HEADER | {"version": 2}), "version 2 of the format"),
    "a version of text": (network_file(HEADER | {"version": "9" * 10**5}), "version '999"),
    "a key more": (network_file(HEADER | {"x": 1}), "the keys"),
    "a key less": (network_file({k: v for k, v in HEADER.items() if k != "members"}), "the keys"),
    "a list": (network_file("[]"), "format"),
    "no JSON": (network_file("{"), "damaged"),
    "JSON that nests": (network_file("[" * 10**5), "damaged"),
    "a number of many digits": (network_file('{"format": ' + "9" * 10**5 + "}"), "damaged"),
    "a header too long": (network_file(" " * 10**6 + json.dumps(HEADER)), "short text"),
    "a header of numbers": (archive([("header.npy", npy(np.arange(9))), BOTH[1]]), "short text"),
    "several texts": (archive([("header.npy", npy(np.array(["a", "b"]))), BOTH[1]]), "short text"),
    "a header of objects": (archive([("header.npy", npy(without_pickle_load())), BOTH[1]]), "short text"),
    "parameters of objects": (network_file(parameters=npy(without_pickle_load())), "layers have parameters"),
    "parameters in float64": (network_file(parameters=npy(np.ones(N_PARAMETERS))), "layers have parameters"),
    "the other byte order": (network_file(parameters=npy(np.ones(N_PARAMETERS, ">f4"))), "layers have parameters"),
    "Fortran's order": (
        network_file(HEADER | {"members": 2}, npy(np.asfortranarray(np.ones((2, N_PARAMETERS), "<f4")))),
        "C order",
    ),
    "a matrix": (network_file(parameters=npy(np.ones((1, N_PARAMETERS), "<f4"))), "layers have parameters"),
    "one parameter less": (network_file(parameters=npy(np.ones(N_PARAMETERS - 1, "<f4"))), "layers have parameters"),
    "a claim of a terabyte": (network_file(parameters=claiming((2**38,))), "layers have parameters"),
    "no array": (network_file(parameters=b"x" * 100), "no plain array"),
    "an empty member": (network_file(parameters=b""), "no plain array"),
    "fields": (network_file(parameters=npy(np.ones(N_PARAMETERS, [("a", "<f4")]))), "no plain array"),
    "code for a shape": (
        network_file(parameters=claiming((13,), n_bytes=52).replace(b"(13,)", b"(f(),)")), "no plain array"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_a_file_from_elsewhere_is_refused_with_the_reason(path, case, monkeypatch):
    monkeypatch.chdir(path.parent)
    content, reason = HOSTILE[case]
    assert reason in refusal(path, content)
    assert not os.path.exists("was-run")


def test_a_file_of_many_members_makes_little_more_than_itself(path):
    members = 10**5
    header = HEADER | {"sizes": [1, 1], "activations": ["tanh"], "members": members}
    content = network_file(header, npy(np.ones((members, 2), "<f4")))
    put(path, content)
    tracemalloc.start()
    try:
        assert fg.MLP.load(path).members == members
        assert tracemalloc.get_traced_memory()[1] < 8e6 + 2 * len(content)
    finally:
        tracemalloc.stop()


def test_the_files_above_are_refused_for_their_fault_alone(path):
    put(path, network_file())
    assert np.all(fg.MLP.load(path).parameters == 1)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_is_there_twice_is_refused(path):
    assert "members are" in refusal(path, archive([*BOTH, BOTH[1]]))


# ---- mutations


def mutated(content, rng):
    """The content with a few changes of the kinds that break parsers."""
    content = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        place, length = int(rng.integers(len(content) + 1)), int(rng.integers(1, 40))
        match rng.integers(6):
            case 0:
                content[place : place + 1] = rng.bytes(1)
            case 1:
                del content[place : place + length]
            case 2:
                content[place:place] = rng.bytes(length)
            case 3:
                number = [0, 1, 2**15, 2**16 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1][rng.integers(8)]
                content[place : place + 4] = number.to_bytes(8, "little")[: int(rng.choice([2, 4, 8]))]
            case 4:
                other = int(rng.integers(len(content) + 1))
                content[place : place + length] = content[other : other + length]
            case 5:
                digits = [i for i, byte in enumerate(content) if chr(byte).isdigit()]
                if digits:
                    content[rng.choice(digits)] = int(rng.choice(list(b"0123456789-.e]")))
    return bytes(content)


def test_mutated_files_are_networks_or_refused(path):
    rng = np.random.default_rng(0)
    whole = [saved(net, path) for net in (a_net(), a_net(members=2, dtype="float64"))]
    texts = [json.dumps(HEADER).encode(), json.dumps(HEADER | {"members": 2, "dtype": "float64"}).encode()]
    vectors = [PARAMETERS, npy(np.ones((2, N_PARAMETERS)))]
    outcomes = {"loaded": 0, "refused": 0}
    tracemalloc.start()
    try:
        for i in range(4000):
            which = i // 2 % 2
            if i % 2:  # the bytes as they are
                content = mutated(whole[which], rng)
            else:  # what is inside, with lengths and checksums that are right
                text, vector = texts[which], vectors[which]
                if rng.integers(2):
                    text = npy(np.array(mutated(text, rng).decode("latin-1")))
                    text = text if rng.integers(4) else mutated(text, rng)
                else:
                    text, vector = npy(np.array(text.decode())), mutated(vector, rng)
                content = archive([("header.npy", text), ("parameters.npy", vector)])
            put(path, content)
            try:
                net = fg.MLP.load(path)
            except ValueError:
                outcomes["refused"] += 1
            else:
                outcomes["loaded"] += 1
                if outcomes["loaded"] % 20 == 0:  # tracing it takes longer than all the rest
                    assert np.shape(net(np.ones(net.sizes[0]))) == (*net.parameters.shape[:-1], net.sizes[-1])
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()
    assert outcomes["loaded"] > 50
    assert outcomes["refused"] > 2000


def test_the_checksum_is_compared(path):
    content = bytearray(saved(a_net(), path))
    place = content.index(a_net().parameters.tobytes()) + 5
    content[place] ^= 1
    assert "CRC" in refusal(path, content)
