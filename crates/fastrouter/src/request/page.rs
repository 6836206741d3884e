//! The router's own pages: small, in HTML or JSON, with the request's id and nothing of the cause.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_edge::forward::tokens;

/// How a page is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Html,
    Json,
}

impl Form {
    /// What the client would rather read: JSON where it asks for that and not for HTML.
    pub(super) fn wanted(headers: &HeaderMap) -> Self {
        let ranges = || headers.get_all(header::ACCEPT).into_iter().flat_map(tokens);
        let asks_for = |words: &[&str]| {
            let mut types =
                ranges().map(|range| range.split(';').next().unwrap_or_default().trim());
            types.any(|kind| words.iter().any(|word| kind.eq_ignore_ascii_case(word)))
        };
        let json = asks_for(&[
            "application/json",
            "application/*",
            "application/problem+json",
        ]);
        if json && !asks_for(&["text/html", "application/xhtml+xml"]) {
            Self::Json
        } else {
            Self::Html
        }
    }

    pub(super) fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Html => "text/html; charset=utf-8",
            Self::Json => "application/json",
        })
    }

    /// The page. The id holds nothing that needs escaping, whoever made it.
    pub(super) fn page(self, status: StatusCode, request_id: &str) -> Bytes {
        let (code, title) = (status.as_u16(), title(status));
        let page = match self {
            Self::Html => format!(
                "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>{code} {title}</title></head>\n\
                 <body>\n<h1>{title}</h1>\n<p>{}</p>\n<p><small>Error {code}, request <code>{request_id}</code></small></p>\n</body>\n</html>\n",
                text(status),
            ),
            Self::Json => format!(
                "{{\"status\":{code},\"title\":\"{title}\",\"detail\":\"{}\",\"request_id\":\"{request_id}\"}}\n",
                text(status),
            ),
        };
        page.into()
    }
}

fn title(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or("Error")
}

fn text(status: StatusCode) -> &'static str {
    match status {
        StatusCode::MOVED_PERMANENTLY => "This page has moved.",
        StatusCode::FORBIDDEN => "This isn't allowed from here.",
        StatusCode::NOT_FOUND => "There is no site at this address.",
        StatusCode::METHOD_NOT_ALLOWED => "This method isn't allowed here.",
        StatusCode::REQUEST_TIMEOUT => "The request took too long to arrive.",
        StatusCode::LENGTH_REQUIRED => "This request has to tell its length.",
        StatusCode::PAYLOAD_TOO_LARGE => "The request is too large.",
        StatusCode::URI_TOO_LONG => "The address is too long.",
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "The request's headers are too large.",
        StatusCode::BAD_GATEWAY => "The site gave no valid answer.",
        StatusCode::SERVICE_UNAVAILABLE => {
            "The site isn't available right now. Please try again later."
        }
        StatusCode::GATEWAY_TIMEOUT => "The site took too long to answer.",
        StatusCode::HTTP_VERSION_NOT_SUPPORTED => "This version of HTTP isn't spoken here.",
        _ => "The request can't be understood.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(accept: &'static str, expected: Form) {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        assert_eq!(Form::wanted(&headers), expected, "{accept}");
    }

    #[test]
    fn json_is_for_those_who_ask_for_it_and_not_for_html() {
        assert_eq!(Form::wanted(&HeaderMap::new()), Form::Html);
        check("*/*", Form::Html);
        check("application/json", Form::Json);
        check("application/json;q=0.9, */*;q=0.1", Form::Json);
        check("text/html,application/json", Form::Html);
        check("text/html,application/xhtml+xml,*/*;q=0.8", Form::Html);
    }

    #[test]
    fn a_json_page_is_valid_json() {
        let page = Form::Json.page(StatusCode::BAD_GATEWAY, "ab12");
        let page: serde_json::Value = serde_json::from_slice(&page).unwrap();
        assert_eq!(page["status"], 502);
        assert_eq!(page["request_id"], "ab12");
    }
}
