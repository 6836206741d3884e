//! How a line of the access log looks.

use std::io::Write;

use jiff::Timestamp;
use serde::Serialize;

/// One answered request.
#[derive(Debug, Serialize)]
pub(crate) struct Entry<'a> {
    #[serde(serialize_with = "milliseconds")]
    pub(crate) time: Timestamp,
    pub(crate) request_id: &'a str,
    pub(crate) client: &'a str,
    pub(crate) method: &'a str,
    pub(crate) host: &'a str,
    pub(crate) target: &'a str,
    pub(crate) status: u16,
    /// Of the body.
    pub(crate) bytes: u64,
    pub(crate) duration_us: u64,
    /// From the choice of an instance to the end of its answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) worker_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) queued_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) site: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) incarnation: Option<u64>,
    /// Why the router answered by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cause: Option<String>,
    /// What the page cache did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cache: Option<&'a str>,
    #[serde(skip)]
    pub(crate) version: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) referer: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) user_agent: &'a str,
}

fn milliseconds<S: serde::Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.3}"))
}

impl Entry<'_> {
    /// Appends a JSON object and a line end.
    pub(crate) fn json(&self, out: &mut Vec<u8>) {
        // Neither writing to memory nor a map of strings and numbers can fail.
        serde_json::to_writer(&mut *out, self).ok();
        out.push(b'\n');
    }

    /// Appends a line in the combined format of Apache httpd and nginx.
    pub(crate) fn combined(&self, out: &mut Vec<u8>) {
        let time = self.time.strftime("%d/%b/%Y:%H:%M:%S +0000");
        let client = if self.client.is_empty() {
            "-"
        } else {
            self.client
        };
        // Writing to memory can't fail.
        write!(out, "{client} - - [{time}] \"{} ", self.method).ok();
        escape(self.target, out);
        write!(out, " {}\" {} {} \"", self.version, self.status, self.bytes).ok();
        escape(or_dash(self.referer), out);
        out.extend_from_slice(b"\" \"");
        escape(or_dash(self.user_agent), out);
        out.extend_from_slice(b"\"\n");
    }
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

/// Nobody ends a field or a line from outside: quotes, backslashes and what isn't printable ASCII
/// become `\xHH`.
fn escape(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' | 0..=0x1f | 0x7f.. => {
                write!(out, "\\x{byte:02X}").ok();
            }
            b' '..=b'~' => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry<'static> {
        Entry {
            time: "2026-01-02T03:04:05.678Z".parse().unwrap(),
            request_id: "ab12",
            client: "192.0.2.1",
            method: "GET",
            host: "a.example",
            target: "/x?y=\"z\"",
            status: 200,
            bytes: 12,
            duration_us: 345,
            worker_us: Some(300),
            queued_us: None,
            site: Some(7),
            incarnation: Some(9),
            cause: None,
            cache: Some("hit; ttl=5"),
            version: "HTTP/1.1",
            referer: "",
            user_agent: "evil\" \n\u{e9}",
        }
    }

    fn written(write: fn(&Entry<'static>, &mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&entry(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_json_line_is_one_object_whatever_the_client_sent() {
        let line = written(Entry::json);
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(object["time"], "2026-01-02T03:04:05.678Z");
        assert_eq!(object["target"], "/x?y=\"z\"");
        assert_eq!(object["user_agent"], "evil\" \n\u{e9}");
        assert_eq!(object.get("cause"), None);
    }

    #[test]
    fn a_combined_line_can_t_be_forged() {
        assert_eq!(
            written(Entry::combined),
            "192.0.2.1 - - [02/Jan/2026:03:04:05 +0000] \"GET /x?y=\\x22z\\x22 HTTP/1.1\" 200 12 \
             \"-\" \"evil\\x22 \\x0A\\xC3\\xA9\"\n"
        );
    }
}
