//! What several fuzz targets share.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode};
use http_edge::upstream::{AnswerDecoder, AnswerError, Codec};
use site_model::{Site, SiteId, TemplateName};
use vassal_core::template::RESERVED_ENV;
use vassal_core::{Catalog, CatalogInput, InstanceContext, Launch, Source, TemplateSource};

/// One answer, read to its end.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    status: StatusCode,
    headers: usize,
    body: Vec<u8>,
    is_at_end: bool,
    is_reusable: bool,
    left: Bytes,
}

/// An answer means the same however its bytes arrive: at once, or one by one. The first byte says
/// what was asked.
pub fn check_answer(codec: Codec, input: &[u8]) {
    let Some((asked, bytes)) = input.split_first() else {
        return;
    };
    let decoder = || match asked % 3 {
        0 => AnswerDecoder::new(codec, &Method::GET),
        1 => AnswerDecoder::new(codec, &Method::HEAD),
        _ => AnswerDecoder::of_upgrade(codec),
    };
    let whole = read(decoder(), bytes, bytes.len().max(1));
    let by_bytes = read(decoder(), bytes, 1);
    // What was taken before an error is found depends on the cut; that there is one doesn't.
    assert_eq!(whole.is_err(), by_bytes.is_err(), "{whole:?} {by_bytes:?}");
    if let (Ok(whole), Ok(by_bytes)) = (whole, by_bytes) {
        assert_eq!(whole, by_bytes);
    }
}

fn read(
    mut decoder: AnswerDecoder,
    bytes: &[u8],
    part: usize,
) -> Result<Option<Answer>, AnswerError> {
    let mut received = BytesMut::new();
    let mut answer: Option<Answer> = None;
    for part in bytes.chunks(part) {
        received.extend_from_slice(part);
        if answer.is_none() {
            answer = decoder.head(&mut received)?.map(|head| Answer {
                status: head.status,
                headers: head.headers.len(),
                body: Vec::new(),
                is_at_end: false,
                is_reusable: false,
                left: Bytes::new(),
            });
        }
        if let Some(answer) = &mut answer {
            while let Some(data) = decoder.body(&mut received)? {
                answer.body.extend_from_slice(&data);
            }
        }
    }
    if let Some(answer) = &mut answer {
        answer.is_at_end = decoder.is_at_end();
        answer.is_reusable = decoder.is_reusable();
        answer.left = if answer.is_at_end {
            received.freeze()
        } else {
            Bytes::new()
        };
    }
    Ok(answer)
}

/// A site whose row has this overlay, of the template `subject`.
pub fn site(extra_config: &str) -> Arc<Site> {
    Arc::new(Site {
        id: SiteId::new(7).expect("it is positive"),
        slug: "seven".parse().expect("it is a slug"),
        domain: Some("seven.example".parse().expect("it is a host")),
        aliases: Vec::new(),
        enabled: true,
        template: Some(subject()),
        extra_config: extra_config.to_owned(),
        run_as: None,
        pool: None,
        reloads: 0,
    })
}

/// A catalog with one template, called `subject`; `None` where the configuration is refused.
pub fn catalog(template: &str) -> Option<Catalog> {
    let template = TemplateSource {
        name: subject(),
        source: Source::new("subject.toml", template),
    };
    let input = CatalogInput {
        templates: vec![template],
        ..CatalogInput::default()
    };
    Catalog::new(input).ok()
}

/// Resolves twice and renders what came of it: the same both times, and nothing of the emperor's
/// own in the site's hands.
pub fn check_site(catalog: &Catalog, site: &Arc<Site>) -> Option<Launch> {
    let spec = match catalog.resolve(site) {
        Ok(spec) => spec,
        Err(reason) => {
            assert_ne!(reason.to_string(), "", "a rejection without a cause");
            return None;
        }
    };
    let again = catalog.resolve(site).expect("it was resolved before");
    assert_eq!(spec.revision, again.revision);
    let launch = spec.render(&instance()).ok()?;
    assert!(!launch.argv.is_empty());
    for (name, value) in &launch.env {
        assert!(!RESERVED_ENV.contains(&name.as_str()), "{name} is reserved");
        assert!(
            !name.contains(['=', '\0']) && !value.contains('\0'),
            "{name:?}={value:?}"
        );
    }
    for file in &launch.files {
        assert!(!file.name.contains('/') && file.name != ".." && file.name != ".");
    }
    Some(launch)
}

fn subject() -> TemplateName {
    "subject".parse().expect("it is a name")
}

fn instance() -> InstanceContext {
    InstanceContext {
        number: 1,
        dir: "/run/emperor/i/7.1/private".into(),
        socket_path: "/run/emperor/i/7.1/s".into(),
    }
}
