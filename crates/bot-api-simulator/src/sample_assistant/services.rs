//! The services beside the assistant: transcription, speech and extraction. Each request is kept, and refused or failed as the behaviour says.

use std::collections::VecDeque;

use bytes::Bytes;
use http::{HeaderMap, Response};
use parking_lot::Mutex;
use serde_json::json;

use super::extraction::{self, RecordedExtraction};
use super::response::Body;
use super::server::{error, is_authorized, reply, unauthorized};
use super::speech::RecordedSpeech;
use super::transcription::RecordedTranscription;
use super::{Behaviour, InjectedFailure, State};

pub(super) fn transcribe(state: &State, headers: &HeaderMap, body: &Bytes) -> Response<Body> {
    let behaviour = state.behaviour.load_full();
    let Some(recording) = RecordedTranscription::read(headers, body) else {
        return error(
            400,
            "invalid_request_error",
            "no multipart form with a file",
        );
    };
    let words = recording.words();
    let already = keep(state, &state.transcriptions, recording);
    refusal(&behaviour, headers, &behaviour.fail_transcription, already)
        .unwrap_or_else(|| reply(200, &json!({"text": words})))
}

pub(super) fn speak(state: &State, headers: &HeaderMap, body: &Bytes) -> Response<Body> {
    let behaviour = state.behaviour.load_full();
    let Some(speech) = RecordedSpeech::read(headers, body) else {
        return error(400, "invalid_request_error", "no request for speech");
    };
    let already = keep(state, &state.speeches, speech.clone());
    refusal(&behaviour, headers, &behaviour.fail_speech, already).unwrap_or_else(|| speech.say())
}

/// Keeps a request; how many are kept already.
fn keep<T>(state: &State, kept: &Mutex<VecDeque<T>>, request: T) -> u64 {
    let mut kept = kept.lock();
    let already = kept.len() as u64;
    kept.push_back(request);
    while kept.len() > state.keep {
        kept.pop_front();
    }
    already
}

/// The refusal of a request without the key, or the failure that is asked for; `None`: neither.
fn refusal(
    behaviour: &Behaviour,
    headers: &HeaderMap,
    failing: &Option<InjectedFailure>,
    already: u64,
) -> Option<Response<Body>> {
    if !is_authorized(behaviour, headers) {
        return Some(unauthorized());
    }
    let failing = failing.as_ref()?;
    let fails = failing.times.is_none_or(|times| already < times);
    fails.then(|| error(failing.status, "server_error", "failing as told"))
}

pub(super) fn extract(state: &State, headers: &HeaderMap, body: &Bytes) -> Response<Body> {
    let behaviour = state.behaviour.load_full();
    let request = RecordedExtraction::read(headers, body);
    let already = keep(state, &state.extractions, request);
    refusal(&behaviour, headers, &behaviour.fail_extraction, already)
        .unwrap_or_else(|| extraction::extract(headers, body))
}
