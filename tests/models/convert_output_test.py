"""The script as its user runs it: memory, progress, and files whole or not there. Run by ctest."""
import contextlib
import io
import json
import os
import pty
import resource
import signal
import subprocess
import sys
import time
import unittest
from unittest import mock

import numpy as np

from pytorch_files import ROOT, SAVERS, SCRIPT, ConverterTest, save_zip, small_model
from pytorch_files import syncdoth_model, tensor, zeros

import convert as converter
from conversion import Refused, output

SETTINGS = {"cfg": {"model": {"activation_fn": "swish"}}}
# Far above what Python and numpy take, far below the tensors of the test.
MEMORY_BYTES = 250 << 20


def large_model(vocabulary=40_000):
    """Zeros for torchscale, 1.1 GB: 2 heads of 2048 x 6; the rows of q and k are reordered."""
    tensors = small_model()
    shapes = {"embed_tokens.weight": (vocabulary, 4096), "output_projection.weight": (15_000, 4096)}
    shapes["layers.0.retention.q_proj.weight"] = (4096, 4096)
    shapes["layers.0.retention.k_proj.weight"] = (4096, 4096)
    tensors.update({f"decoder.{name}": zeros(shape) for name, shape in shapes.items()})
    angle = np.repeat(1.0 / 10000 ** np.linspace(0, 1, 1024), 2).astype(np.float32)
    tensors["decoder.retnet_rel_pos.angle"] = tensor(angle)
    return tensors


class OutputTest(ConverterTest):
    def run_script(self, *arguments, **options):
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **options.pop("env", {})}
        return subprocess.run(
            [sys.executable, SCRIPT, *arguments],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
            **options,
        )

    def convert(self, **options):
        return self.run_script(self.checkpoint, self.out, **options)

    def save(self, tensors=None, saver=save_zip):
        saver(self.checkpoint, {"model": tensors or small_model(), **SETTINGS})

    def fails(self, ran, status, *words):
        """One line, no traceback."""
        self.assertEqual((ran.returncode, ran.stderr.count("\n")), (status, 1), ran.stderr)
        self.assertEqual(ran.stdout, "")
        for word in words:
            self.assertIn(word, ran.stderr)


class Memory(OutputTest):
    def test_a_large_file_is_never_held(self):
        for (name, saver), vocabulary in zip(SAVERS.items(), (40_000, 20_000)):
            with self.subTest(name):
                self.out = os.path.join(self.folder, name)
                self.save(large_model(vocabulary), saver)
                with subprocess.Popen(
                    [sys.executable, SCRIPT, self.checkpoint, self.out],
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    text=True,
                ) as child:
                    errors = child.stderr.read()
                    _, status, used = os.wait4(child.pid, 0)
                    child.returncode = os.waitstatus_to_exitcode(status)
                self.assertEqual(child.returncode, 0, errors)
                size = os.path.getsize(os.path.join(self.out, "model.safetensors"))
                self.assertGreater(size, (vocabulary + 15_000) * 16384)
                self.assertLess(used.ru_maxrss * 1024, MEMORY_BYTES)
                os.remove(os.path.join(self.out, "model.safetensors"))


class Whole(OutputTest):
    def test_a_run_that_fails_leaves_nothing(self):
        self.save(large_model())

        def no_large_files():
            resource.setrlimit(resource.RLIMIT_FSIZE, (50_000_000, 50_000_000))

        ran = self.convert(preexec_fn=no_large_files)
        self.fails(ran, 1, "File too large")
        self.assertFalse(os.path.exists(self.out))
        os.mkdir(self.out)
        self.fails(self.convert(preexec_fn=no_large_files), 1, "File too large")
        self.assertEqual(os.listdir(self.out), [])

    def test_a_run_that_is_ended_leaves_nothing(self):
        self.save(large_model())
        command = [sys.executable, SCRIPT, self.checkpoint, self.out]
        for number in (signal.SIGTERM, signal.SIGINT):
            with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as child:
                work = os.path.join(self.out, output.UNFINISHED, "model.safetensors")
                while not os.path.exists(work) and child.poll() is None:
                    time.sleep(0.001)
                self.assertFalse(os.path.exists(os.path.join(self.out, "model.safetensors")))
                child.send_signal(number)
                errors = child.stderr.read()
            self.assertEqual((child.returncode, errors.count("\n")), (130, 1), errors)
            self.assertIn("nothing was written", errors)
            self.assertFalse(os.path.exists(self.out))

    def test_what_a_killed_run_left_is_cleared(self):
        os.makedirs(os.path.join(self.out, output.UNFINISHED))
        with open(os.path.join(self.out, output.UNFINISHED, "model-00001.safetensors"), "wb"):
            pass
        self.save()
        self.assertEqual(self.convert().returncode, 0)
        self.assertEqual(set(os.listdir(self.out)), {"config.json", "model.safetensors"})

    def test_a_model_that_is_there_is_not_overwritten(self):
        self.save()
        self.assertEqual(self.convert().returncode, 0)
        before = self.tensors()
        self.fails(self.convert(), 1, "new or empty")
        self.assertEqual(self.tensors(), before)
        self.out = self.checkpoint  # no folder
        self.fails(self.convert(), 1, "checkpoint.pt")

    def test_a_disk_without_enough_space(self):
        self.save()
        with mock.patch.object(output.shutil, "disk_usage", return_value=mock.Mock(free=2000)):
            with self.assertRaisesRegex(Refused, "has 2.0 kB of space; the weights need 2.7 kB"):
                converter.convert(self.checkpoint, self.out)
        self.assertFalse(os.path.exists(self.out))

    def test_two_runs_do_not_write_to_one_folder(self):
        self.save()
        with output.Output(self.out):
            self.fails(self.convert(), 1, "another conversion")
            self.assertEqual(os.listdir(self.out), [output.UNFINISHED])


class Shards(OutputTest):
    def test_a_large_model_has_an_index(self):
        tensors, config = syncdoth_model()
        self.write_source("config.json", config)
        save_zip(os.path.join(self.source, "pytorch_model.bin"), tensors)
        with mock.patch.object(output, "SHARD_BYTES", 600):
            with contextlib.redirect_stdout(io.StringIO()):
                converter.convert(self.source, self.out)
        index = self.written("model.safetensors.index.json")
        files = sorted(set(index["weight_map"].values()))
        count = len(files)
        self.assertGreater(count, 2)
        expected = [f"model-{i + 1:05}-of-{count:05}.safetensors" for i in range(count)]
        self.assertEqual(files, expected)
        self.assertEqual(set(index["weight_map"]), set(tensors))
        total = 0
        for file in files:
            held = self.tensors(file)
            self.assertEqual({n for n, f in index["weight_map"].items() if f == file}, set(held))
            total += sum(len(data) for _, _, data in held.values())
        self.assertEqual(index["metadata"]["total_size"], total)
        self.assertFalse(os.path.exists(os.path.join(self.out, "model.safetensors")))

    def test_elements_lie_at_multiples_of_their_size(self):
        tensors = small_model("HalfStorage", np.uint16)
        tensors["decoder.embed_tokens.weight"] = zeros((7, 7), "HalfStorage")
        tensors["decoder.layer_norm.weight"] = zeros((8,))
        self.save(tensors)
        self.assertEqual(self.convert().returncode, 0)
        with open(os.path.join(self.out, "model.safetensors"), "rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(length))
        self.assertEqual(length % 8, 0)
        begin = header["model.norm.weight"]["data_offsets"][0]
        self.assertEqual((header["model.norm.weight"]["dtype"], begin % 4), ("F32", 0))


class Script(OutputTest):
    def test_help_needs_no_numpy_and_the_rest_says_what_to_install(self):
        with open(os.path.join(self.folder, "numpy.py"), "w", encoding="utf-8") as stream:
            stream.write("raise ImportError('not here')\n")
        self.save()
        environment = {"PYTHONPATH": self.folder}
        self.fails(self.convert(env=environment), 1, "numpy is missing", "python3-numpy")
        ran = self.run_script("--help", env=environment)
        self.assertEqual((ran.returncode, ran.stderr), (0, ""))
        for word in ("SOURCE", "OUT", "pytorch_model.bin", "torchscale", "Exit status"):
            self.assertIn(word, ran.stdout)

    def test_wrong_usage(self):
        self.assertEqual(self.run_script().returncode, 2)
        self.assertEqual(self.run_script("a", "b", "c").returncode, 2)
        self.fails(self.convert(), 1, "no such file or folder")

    def test_safetensors_are_served_as_they_are(self):
        self.write_source("model.safetensors.index.json", {})
        self.write_source("pytorch_model.bin", "")
        ran = self.run_script(self.source, self.out)
        self.fails(ran, 2, "needs no conversion", f"retnetd --model {self.source}")
        file = os.path.join(self.source, "model.safetensors")
        ran = self.run_script(file, self.out)
        self.fails(ran, 2, "needs no conversion", f"retnetd --model {self.source}")
        self.assertFalse(os.path.exists(self.out))

    def test_names_cannot_write_to_the_terminal(self):
        self.save({"\x1b[2J\nevil": zeros((8,))})
        ran = self.convert()
        self.fails(ran, 1, "?[2J?evil")
        self.assertNotIn("\x1b", ran.stderr)

    def test_it_says_what_it_has_written(self):
        self.save()
        ran = self.convert()
        self.assertEqual(ran.returncode, 0)
        self.assertIn("13 tensors", ran.stdout)
        self.assertIn("no tokenizer", ran.stderr)

    def test_progress_is_a_bar_on_a_terminal(self):
        self.save()
        leader, terminal = pty.openpty()
        command = [sys.executable, SCRIPT, self.checkpoint, self.out]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=terminal) as child:
            child.wait()
        os.close(terminal)
        shown = os.read(leader, 65536).decode()
        os.close(leader)
        self.assertEqual(child.returncode, 0)
        self.assertIn("\r[" + "#" * 30 + "] 2.7 kB of 2.7 kB, 100 %", shown)

    def test_progress_is_lines_elsewhere(self):
        self.save()
        code = (
            f"import sys; sys.path.insert(0, {os.path.join(ROOT, 'models')!r}); import convert\n"
            "from conversion import output; output.Progress.SECONDS = 0\n"
            f"sys.exit(convert.main([{self.checkpoint!r}, {self.out!r}]))"
        )
        command = [sys.executable, "-c", code]
        ran = subprocess.run(command, capture_output=True, text=True, check=True)
        lines = [line for line in ran.stderr.splitlines() if "%" in line]
        self.assertEqual(len(lines), 13)
        self.assertEqual(lines[-1], "convert: 2.7 kB of 2.7 kB, 100 %")


if __name__ == "__main__":
    unittest.main()
