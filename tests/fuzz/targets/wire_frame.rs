//! Frames between the programs: however the bytes are cut, decoding them yields the same messages,
//! and a route that is taken survives being sent on.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use site_model::SiteRoute;
use wire::exec::ExecPlan;
use wire::frame::decode;
use wire::preload::{PreloaderWord, WorkerWord};
use wire::route::{FromRouter, RouteFrame, ToRouter};

fuzz_target!(|bytes: &[u8]| {
    let mut whole = BytesMut::from(bytes);
    while let Ok(Some(message)) = decode::<ToRouter>(&mut whole) {
        routes(message);
    }
    drain::<FromRouter>(bytes);
    drain::<ExecPlan>(bytes);
    drain::<PreloaderWord>(bytes);
    drain::<WorkerWord>(bytes);
    assert_eq!(messages(bytes, bytes.len().max(1)), messages(bytes, 1));
});

fn drain<T: serde::de::DeserializeOwned>(bytes: &[u8]) {
    let mut received = BytesMut::from(bytes);
    while let Ok(Some(_)) = decode::<T>(&mut received) {}
}

fn messages(bytes: &[u8], part: usize) -> Vec<serde_json::Value> {
    let (mut received, mut taken) = (BytesMut::new(), Vec::new());
    for part in bytes.chunks(part) {
        received.extend_from_slice(part);
        loop {
            match decode(&mut received) {
                Ok(Some(message)) => taken.push(message),
                Ok(None) => break,
                Err(_) => return taken,
            }
        }
    }
    taken
}

fn routes(message: ToRouter) {
    let frames = match message {
        ToRouter::TablePart { routes } => routes,
        ToRouter::Change { upserts, .. } => upserts,
        _ => return,
    };
    for frame in frames {
        let Ok(route) = SiteRoute::try_from(frame) else {
            continue;
        };
        let sent_on = RouteFrame::from(&route);
        assert_eq!(SiteRoute::try_from(sent_on), Ok(route));
    }
}
