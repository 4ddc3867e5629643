"""A speech server and a transcription server in OpenAI's words, the peer of `foreign/speech.rs`: thin fronts over real engines from PyPI. eSpeak NG
(espeakng-loader has its library and voices) speaks, PocketSphinx with the English model in its wheel writes down, and FFmpeg (av) makes and reads
Opus in Ogg. None of them fetches anything.

    python speech_and_ears.py PORT
"""
import ctypes
import email.parser
import email.policy
import io
import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

import av
import espeakng_loader
from pocketsphinx import Decoder

WORDS_A_MINUTE = 130


class Voice:
    """eSpeak NG."""

    def __init__(self):
        self.engine = ctypes.CDLL(espeakng_loader.get_library_path())
        # Mode 2: the samples are handed over, all at once.
        self.rate = self.engine.espeak_Initialize(2, 0, espeakng_loader.get_data_path().encode(), 0)
        assert self.rate > 0 and self.engine.espeak_SetVoiceByName(b"en-us") == 0
        self.engine.espeak_SetParameter(1, WORDS_A_MINUTE, 0)
        self.samples = bytearray()
        take = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
        self.callback = take(self.take)
        self.engine.espeak_SetSynthCallback(self.callback)

    def take(self, samples, count, _events):
        if samples and count > 0:
            self.samples += ctypes.string_at(samples, 2 * count)
        return 0

    def speak(self, text):
        self.samples.clear()
        text = text.encode()
        self.engine.espeak_Synth(text, len(text) + 1, 0, 0, 0, 1, None, None)
        self.engine.espeak_Synchronize()
        return bytes(self.samples)


def resampled(frames, rate):
    resampler = av.AudioResampler(format="s16", layout="mono", rate=rate)
    for frame in frames:
        yield from resampler.resample(frame)
    yield from resampler.resample(None)


def opus(samples, rate):
    frame = av.AudioFrame(format="s16", layout="mono", samples=len(samples) // 2)
    frame.sample_rate = rate
    frame.planes[0].update(samples)
    file = io.BytesIO()
    with av.open(file, "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=48000, layout="mono")
        for part in resampled([frame], 48000):
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return file.getvalue()


def write_down(recording):
    decoder = Decoder(samprate=16000, loglevel="FATAL")
    decoder.start_utt()
    with av.open(io.BytesIO(recording)) as container:
        samples = b"".join(
            bytes(frame.planes[0])[: 2 * frame.samples] for frame in resampled(container.decode(audio=0), 16000)
        )
    decoder.process_raw(samples, full_utt=True)
    decoder.end_utt()
    return decoder.hyp().hypstr if decoder.hyp() else ""


VOICE = Voice()


class Front(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/v1/audio/speech":
            asked = json.loads(body)
            if asked["response_format"] != "opus":
                return self.send_error(400, "this front makes opus")
            return self.answer("audio/ogg", opus(VOICE.speak(asked["input"]), VOICE.rate))
        if self.path == "/v1/audio/transcriptions":
            head = f"content-type: {self.headers['content-type']}\r\n\r\n".encode()
            form = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
            parts = {part.get_param("name", header="content-disposition"): part for part in form.iter_parts()}
            text = write_down(parts["file"].get_payload(decode=True))
            return self.answer("application/json", json.dumps({"text": text}).encode())
        self.send_error(404)

    def answer(self, content_type, body):
        self.send_response(200)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


HTTPServer(("127.0.0.1", int(sys.argv[1])), Front).serve_forever()
