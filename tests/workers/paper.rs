//! A worker whose pages are rows of a table: `/…` shows the version that the row with this path has
//! when it is asked. Each page carries the tags `page` and `site-N`.
//!
//! It keeps its connections, to its clients and to PostgreSQL, and answers on a thread for each.

mod inherited;

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Client, NoTls};

/// How often it was asked for a page.
static ASKED: AtomicU64 = AtomicU64::new(0);

fn main() -> io::Result<()> {
    let listener = inherited::listener()?;
    loop {
        let (client, _) = listener.accept()?;
        // A client that goes away ends its own connection alone.
        thread::spawn(|| serve(client));
    }
}

fn serve(mut client: UnixStream) -> io::Result<()> {
    let mut table = None;
    let mut reader = BufReader::new(client.try_clone()?);
    while let Some(path) = asked_path(&mut reader)? {
        let table = match &mut table {
            Some(table) => table,
            none => none.insert(Table::open()?),
        };
        let asked = ASKED.fetch_add(1, Ordering::Relaxed) + 1;
        let page = table.version(&path)?;
        let page = serde_json::json!({"path": path, "version": page, "asked": asked}).to_string();
        let site = std::env::var("SITE_ID").unwrap_or_default();
        write!(
            client,
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nSurrogate-Key: page site-{site}\r\n\
             Content-Length: {}\r\n\r\n{page}",
            page.len()
        )?;
    }
    Ok(())
}

/// The path of the next request; `None` where the client has closed.
fn asked_path(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let target = line.split(' ').nth(1).unwrap_or_default();
    let path = target.split('?').next().unwrap_or_default().to_owned();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        if header.trim_end().is_empty() {
            return Ok(Some(path));
        }
    }
}

struct Table {
    runtime: Runtime,
    client: Client,
}

impl Table {
    fn open() -> io::Result<Self> {
        let database = std::env::var("DATABASE").map_err(io::Error::other)?;
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build()?;
        let connected = runtime.block_on(tokio_postgres::connect(&database, NoTls));
        let (client, connection) = connected.map_err(io::Error::other)?;
        runtime.spawn(connection);
        Ok(Self { runtime, client })
    }

    /// The version of a page; `None`: there is no such page.
    fn version(&self, path: &str) -> io::Result<Option<i64>> {
        let query = "SELECT version FROM page WHERE path = $1";
        let row = async { self.client.query_opt(query, &[&path]).await };
        let row = self.runtime.block_on(row).map_err(io::Error::other)?;
        Ok(row.map(|row| row.get(0)))
    }
}
