//! Answers of workers that speak uwsgi.
#![no_main]

use http_edge::upstream::Codec;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| fuzz::check_answer(Codec::Uwsgi, input));
