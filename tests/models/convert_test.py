"""What the converter makes of each layout, and how it refuses the others. Run by ctest."""
import argparse
import contextlib
import io
import os
import unittest

import numpy as np

from pytorch_files import SAVERS, ConverterTest, Parameter, elements, save_zip, small_model
from pytorch_files import syncdoth_model, tensor, zeros

import convert as converter
from conversion import Refused

SETTINGS = {"activation_fn": "swish"}


class ConvertTest(ConverterTest):
    def convert(self, source):
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            converter.convert(source, self.out)
        return self.written()

    def refused(self, source, *words):
        """One sentence, which never says of a layout that a tensor is missing; nothing is made."""
        with self.assertRaises(Refused) as caught:
            converter.convert(source, self.out)
        message = str(caught.exception)
        for word in words:
            self.assertIn(word, message)
        self.assertNotIn("\n", message)
        self.assertFalse(os.path.exists(self.out))
        return message


class Torchscale(ConvertTest):
    def made_of(self, settings=None, tensors=None, **content):
        """Converts a file of torchscale."""
        self.save(settings, tensors, **content)
        return self.convert(self.checkpoint)

    def save(self, settings=None, tensors=None, **content):
        content = {"cfg": {"model": {**SETTINGS, **(settings or {})}}, "args": None, **content}
        save_zip(self.checkpoint, {"model": tensors or small_model(), **content})

    def refuses(self, *words, settings=None, tensors=None, **content):
        self.save(settings, tensors, **content)
        return self.refused(self.checkpoint, *words)

    def test_what_is_no_plain_retnet_is_refused_by_name(self):
        for settings, words in (
            ({"moe_freq": 2}, ("mixture of experts", "moe_freq is 2")),
            ({"use_xmoe": True}, ("mixture of experts", "use_xmoe")),
            ({"deepnorm": True}, ("deepnorm",)),
            ({"multiway": True}, ("multiway",)),
            ({"decoder_normalize_before": False}, ("post-norm", "decoder_normalize_before")),
            ({"no_output_layer": True}, ("no_output_layer",)),
            ({"activation_fn": "relu"}, ("activation_fn is 'relu'",)),
            ({"decoder_retention_heads": 3}, ("decoder_retention_heads",)),
            ({"layernorm_eps": "small"}, ("layernorm_eps",)),
        ):
            with self.subTest(settings=settings):
                self.refuses(*words, settings=settings)

    def test_settings_become_keys(self):
        config = self.made_of({"no_scale_embedding": False, "layernorm_eps": 1e-5})
        self.assertEqual(config["embedding_multiplier"], 8**0.5)
        self.assertEqual(config["norm_eps"], 1e-5)
        self.assertEqual(config["num_heads"], 2)
        self.assertEqual((config["expand_k"], config["expand_v"]), (1.0, 1.5))
        self.assertEqual(config["mlp_hidden_act"], "swish")
        self.assertIs(config["normalized_retention"], True)
        self.assertTrue(config["rotary_endpoint"])
        self.assertNotIn("decay", config)
        self.assertNotIn("rotary_theta", config)
        self.assertFalse(config["tie_word_embeddings"])

    def test_settings_may_be_the_args_of_a_command(self):
        arguments = argparse.Namespace(no_scale_embedding=True)
        config = self.made_of(cfg=None, args=arguments)
        self.assertEqual(config["mlp_hidden_act"], "gelu")

    def test_a_file_without_settings_is_refused(self):
        self.refuses("neither cfg.model nor args", cfg=None)

    def test_tied_embeddings_are_written_once(self):
        config = self.made_of({"share_decoder_input_output_embed": True})
        self.assertTrue(config["tie_word_embeddings"])
        self.assertNotIn("lm_head.weight", self.tensors())

    def test_a_shared_storage_is_written_once(self):
        tensors = small_model()
        tensors["decoder.output_projection.weight"] = tensors["decoder.embed_tokens.weight"]
        self.assertTrue(self.made_of(tensors=tensors)["tie_word_embeddings"])
        self.assertNotIn("lm_head.weight", self.tensors())

    def test_rows_of_q_and_k_go_from_neighbours_to_halves(self):
        tensors = small_model()
        self.made_of(tensors=tensors)
        for part in "qk":
            _, shape, data = self.tensors()[f"model.layers.0.attn.{part}_proj.weight"]
            original = elements(tensors[f"decoder.layers.0.retention.{part}_proj.weight"])
            expected = original[[0, 2, 1, 3, 4, 6, 5, 7]]
            np.testing.assert_array_equal(np.frombuffer(data, "<f4").reshape(shape), expected)

    def test_sixteen_bits_keep_their_bits(self):
        for kind, dtype in (("BFloat16Storage", "BF16"), ("HalfStorage", "F16")):
            tensors = small_model(kind, np.uint16)
            self.made_of(tensors=tensors)
            original = elements(tensors["decoder.embed_tokens.weight"])
            expected = (dtype, (7, 8), original.tobytes())
            self.assertEqual(self.tensors()["model.embeddings.weight"], expected)
            for name in os.listdir(self.out):
                os.remove(os.path.join(self.out, name))

    def test_rounded_angles_and_decays_are_kept(self):
        tensors = small_model("HalfStorage", np.float16)
        for name in ("angle", "decay"):
            array = elements(tensors[f"decoder.retnet_rel_pos.{name}"]).astype(np.float16)
            tensors[f"decoder.retnet_rel_pos.{name}"] = tensor(array, "HalfStorage")
        config = self.made_of(tensors=tensors)
        self.assertEqual(config["rotary_theta"], [1.0, float(np.float16(1e-4))])
        self.assertNotIn("rotary_endpoint", config)
        rounded = np.float16(np.log(1 - 2.0 ** (-5 - np.arange(2)))).astype(np.float64)
        self.assertEqual(config["decay"], list(np.exp(rounded)))

    def test_rounded_angles_of_bf16_are_widened(self):
        tensors = small_model()
        for name in ("angle", "decay"):
            array = elements(tensors[f"decoder.retnet_rel_pos.{name}"])
            bits = (array.view(np.uint32) >> 16).astype(np.uint16)
            tensors[f"decoder.retnet_rel_pos.{name}"] = tensor(bits, "BFloat16Storage")
        theta = self.made_of(tensors=tensors)["rotary_theta"]
        self.assertEqual(theta[0], 1.0)
        self.assertNotEqual(theta[1], 1e-4)
        np.testing.assert_allclose(theta[1], 1e-4, rtol=2**-7)

    def test_other_decays_are_kept_and_must_decay(self):
        tensors = small_model()
        name = "decoder.retnet_rel_pos.decay"
        tensors[name] = tensor(np.log(np.float32([0.5, 0.75])))
        decay = self.made_of(tensors=tensors)["decay"]
        np.testing.assert_allclose(decay, [0.5, 0.75], rtol=1e-6)
        for name_of in os.listdir(self.out):
            os.remove(os.path.join(self.out, name_of))
        os.rmdir(self.out)
        tensors[name] = tensor(np.float32([0.0, -1.0]))
        self.refuses("does not decay", tensors=tensors)

    def test_angles_are_one_for_each_pair(self):
        tensors = small_model()
        tensors["decoder.retnet_rel_pos.angle"] = tensor(np.float32([1, 1, 0.5, 0.5]))
        self.assertEqual(self.made_of(tensors=tensors)["rotary_theta"], [1.0, 0.5])
        self.out += "2"
        tensors["decoder.retnet_rel_pos.angle"] = tensor(np.float32([1, 0.5, 1, 0.5]))
        self.refuses("retnet_rel_pos.angle", tensors=tensors)

    def test_tensors_without_a_place_or_of_a_wrong_kind_are_named(self):
        tensors = small_model()
        name = "decoder.layers.0.retention.group_norm.weight"
        tensors[name] = tensor(np.zeros(6, np.float32))
        self.refuses("group_norm", tensors=tensors)
        tensors = small_model()
        del tensors["decoder.layers.0.ffn.fc2.weight"]
        self.refuses("incomplete", "decoder.layers.0.ffn.fc2.weight", tensors=tensors)
        tensors = small_model()
        tensors["decoder.layer_norm.weight"] = tensor(np.zeros((8, 1), np.float32))
        self.refuses("layer_norm.weight", "sides", tensors=tensors)
        self.refuses("F64", tensors=small_model("DoubleStorage", np.float64))


class HuggingFace(ConvertTest):
    def save(self, tensors, config, saver=save_zip, name="pytorch_model.bin"):
        self.write_source("config.json", config)
        saver(os.path.join(self.source, name), tensors)

    def check(self, tensors):
        found = self.tensors()
        self.assertEqual(set(found), set(tensors))
        for name, saved in tensors.items():
            self.assertEqual(found[name][1:], (saved.shape, elements(saved).tobytes()))

    def test_names_and_bytes_stay_as_they_are(self):
        tensors, config = syncdoth_model()
        for number, (name, saver) in enumerate(SAVERS.items()):
            with self.subTest(name):
                self.out = os.path.join(self.folder, str(number))
                self.save(tensors, config, saver)
                self.assertEqual(self.convert(self.source), config)
                self.check(tensors)

    def test_dictionaries_and_wrappers_around_are_taken_off(self):
        tensors, config = syncdoth_model()
        parameters = {name: Parameter(saved) for name, saved in tensors.items()}
        wrapped = {f"module.{name}": saved for name, saved in tensors.items()}
        lightning = {f"model.{name}": saved for name, saved in tensors.items()}
        compiled = {f"_orig_mod.{name}": saved for name, saved in tensors.items()}
        contents = (parameters, compiled, wrapped, {"model": wrapped})
        contents += ({"module": {"state_dict": tensors}},)
        contents += ({"state_dict": lightning, "epoch": 3, "best": tensor(np.zeros(1))},)
        for number, content in enumerate(contents):
            with self.subTest(number):
                self.out = os.path.join(self.folder, str(number))
                self.save(content, config)
                self.convert(self.source)
                self.check(tensors)

    def test_shards_are_read_by_their_index(self):
        tensors, config = syncdoth_model()
        names = list(tensors)
        places = {name: f"pytorch_model-{i % 2}.bin" for i, name in enumerate(names)}
        parts = [{name: tensors[name] for name in names[first::2]} for first in range(2)]
        for number, part in enumerate(parts):
            self.save(part, config, name=f"pytorch_model-{number}.bin")
        self.write_source("pytorch_model.bin.index.json", {"weight_map": places})
        self.convert(self.source)
        self.check(tensors)
        self.out += "2"
        save_zip(os.path.join(self.source, "pytorch_model-1.bin"), tensors)
        self.refused(self.source, "in pytorch_model-1.bin and in another file")
        save_zip(os.path.join(self.source, "pytorch_model-1.bin"), parts[1])
        index = {"weight_map": {**places, "lm_head.bias": "pytorch_model-1.bin"}}
        self.write_source("pytorch_model.bin.index.json", index)
        self.refused(self.source, "lm_head.bias is not in pytorch_model-1.bin")
        os.remove(os.path.join(self.source, "pytorch_model-1.bin"))
        self.refused(self.source, "pytorch_model-1.bin", "missing")
        for file in ("../x.bin", "", None, "a\0"):
            self.write_source("pytorch_model.bin.index.json", {"weight_map": {"a": file}})
            self.refused(self.source, "no file of this folder")

    def test_fla_with_one_tensor_for_gate_and_up(self):
        tensors = {"model.embeddings.weight": np.ones((7, 8), np.float32)}
        tensors["model.layers.0.attn.q_proj.weight"] = np.ones((8, 8), np.float32)
        tensors["model.layers.0.mlp.gate_proj.weight"] = np.ones((10, 8), np.float32)
        tensors = {name: tensor(array) for name, array in tensors.items()}
        self.save(tensors, {"model_type": "retnet", "hidden_size": 8})
        self.convert(self.source)
        self.check(tensors)
        self.out += "2"
        self.save(tensors, {"model_type": "retnet", "use_short_conv": True})
        self.refused(self.source, "use_short_conv")
        self.save(tensors, {"model_type": "gla"})
        self.refused(self.source, "model_type is 'gla'")

    def test_torchscales_names_may_lie_in_a_folder(self):
        self.save(small_model(), {"activation_fn": "swish", "decoder_embed_dim": 8})
        self.assertTrue(self.convert(self.source)["normalized_retention"])
        self.assertIn("model.layers.0.attn.q_proj.weight", self.tensors())

    def test_tied_heads_are_written_once(self):
        tensors, config = syncdoth_model()
        self.save(tensors, {**config, "tie_word_embeddings": True})
        self.convert(self.source)
        self.assertNotIn("lm_head.weight", self.tensors())
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
        self.save(tensors, config)
        self.out += "2"
        self.assertTrue(self.convert(self.source)["tie_word_embeddings"])
        self.assertNotIn("lm_head.weight", self.tensors())

    def test_what_is_no_weight_is_left_out_and_doubles_are_refused(self):
        tensors, config = syncdoth_model()
        positions = tensor(np.arange(5), "LongStorage")
        self.save({**tensors, "model.position_ids": positions}, config)
        self.convert(self.source)
        self.check(tensors)
        self.out += "2"
        tensors, _ = syncdoth_model(kind="DoubleStorage", dtype=np.float64)
        self.save(tensors, config)
        self.refused(self.source, "F64")

    def test_files_of_the_tokenizer_come_along(self):
        tensors, config = syncdoth_model()
        self.save(tensors, config)
        files = ("tokenizer.json", "tokenizer_config.json", "spiece.model")
        files += ("generation_config.json",)
        for name in (*files, "training_args.bin"):
            self.write_source(name, f"content of {name}")
        config_text = '{"model_type": "retnet",\n\t"inf": Infinity}'
        self.write_source("config.json", config_text)
        self.convert(self.source)
        expected = {"config.json", "model.safetensors", *files}
        self.assertEqual(set(os.listdir(self.out)), expected)
        for name in files:
            with open(os.path.join(self.out, name), encoding="utf-8") as stream:
                self.assertEqual(stream.read(), f"content of {name}")
        with open(os.path.join(self.out, "config.json"), encoding="utf-8") as stream:
            self.assertEqual(stream.read(), config_text)

    def test_folders_without_what_is_needed(self):
        os.mkdir(self.source)
        self.refused(self.source, "no config.json")
        self.write_source("config.json", "[" * 100_000)
        self.refused(self.source, "config.json is not JSON")
        self.write_source("config.json", {})
        self.refused(self.source, "neither pytorch_model.bin nor")
        self.write_source("checkpoint_best.pt", "")
        self.refused(self.source, "name the file itself (checkpoint_best.pt)")
        self.write_source("flax_model.msgpack", "")
        self.refused(self.source, "flax_model.msgpack")
        tensors, config = syncdoth_model()
        self.save(tensors, config)
        self.refused(os.path.join(self.source, "pytorch_model.bin"), "name its folder")


class Unserved(ConvertTest):
    """Layouts that are refused by name, as a folder and as a file that stands alone."""

    def test_each_by_its_name_and_what_is_missing(self):
        plain, config = syncdoth_model()
        biased = {**plain, "model.layers.0.retention.q_proj.bias": zeros((8,))}
        ungated = {name: saved for name, saved in biased.items() if ".gate." not in name}
        first = [f"decoder.layers.0.retention.q_proj.{part}" for part in ("weight", "bias")]
        normed = {**plain, "model.layers.0.ffn.ffn_layernorm.weight": zeros((5,))}
        cases = (
            (ungated, {"parallel_residual": True, "use_bias": True}, ("XATL", "parallel residual")),
            (biased, {"use_bias": True, "use_rms_norm": False}, ("XATL", "biases")),
            (biased, {}, ("July 2023", "LayerNorm")),
            (first, {}, ("torchscale's", "July 2023", "LayerNorm")),
            (["model.blocks.0.msr.qkv.weight"], {}, ("before October 2023", "xPos")),
            (["decoder.layers.0.linear1.weight"], {}, ("yet-another-retnet", "biases")),
            (["retentions.0.W_Q"], {}, ("Jamie-Stirling", "group norm")),
            (["layers.1.retentions.0.W_Q"], {}, ("Jamie-Stirling", "group norm")),
            (["self_decoder.layers.0.retention.gt_proj.weight"], {}, ("YOCO", "on the token")),
            (["decoder.layers.1.moe_layer.gate.wg.weight"], {}, ("mixture of experts",)),
            (["decoder.layers.0.retention.q_proj.A.weight"], {}, ("multiway",)),
            (plain, {"deepnorm": True}, ("deepnorm",)),
            (plain, {"decoder_normalize_before": False}, ("post-norm",)),
            (plain, {"use_glu": False}, ("use_glu", "without a gate")),
            ({n: s for n, s in plain.items() if ".gate." not in n}, {}, ("without a gate",)),
            (plain, {"use_ffn_rms_norm": True}, ("use_ffn_rms_norm",)),
            (normed, {}, ("norm within",)),
            (["transformer.h.0.attn.weight"], {}, ("transformer.h.0.attn.weight", "no layout")),
        )
        for tensors, keys, words in cases:
            if isinstance(tensors, list):
                tensors = {name: zeros((8, 8)) for name in tensors}
            with self.subTest(words=words):
                self.write_source("config.json", {**config, **keys})
                save_zip(os.path.join(self.source, "pytorch_model.bin"), tensors)
                message = self.refused(self.source, *words)
                self.assertNotIn("missing", message)
                self.assertNotIn("incomplete", message)
                if not keys:  # the names alone say it
                    self.refused(os.path.join(self.source, "pytorch_model.bin"), *words)


if __name__ == "__main__":
    unittest.main()
