//! A person at a browser: headless Chromium, spoken to in `WebDriver`. That is JSON over HTTP, and the
//! few commands of it that are needed are not worth a crate and its dependencies.

use std::path::PathBuf;
use std::process::Child;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::CONTENT_TYPE;
use hyper::{Method, StatusCode};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::client::request;
use crate::place::{Place, free_port};
use crate::processes::Process;
use crate::wait::{PATIENCE, eventually};
use crate::{Client, program};

/// Under this name an element's id is in an answer; the standard says so.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with one window, that finds every host on this machine.
#[derive(Debug)]
pub struct Browser {
    driver: Client,
    session: String,
    _chromedriver: Chromedriver,
}

/// The program that drives it; the browser ends with it.
#[derive(Debug)]
struct Chromedriver {
    child: Child,
    folder: PathBuf,
}

/// Why a command was not carried out, in the driver's words.
type Refusal = String;

impl Browser {
    /// Starts it, with a profile of its own.
    pub async fn open(place: &Place) -> Self {
        let folder = place.folder("browser");
        let profile = folder.join("profile");
        let port = free_port();
        let mut chromedriver = program::command("chromedriver");
        // What Chromium keeps besides its profile goes there as well.
        chromedriver
            .arg(format!("--port={port}"))
            .env("HOME", &folder);
        let log = place.join("browser.log");
        let chromedriver = Chromedriver {
            child: program::start_logged(&mut chromedriver, &log),
            folder,
        };
        let driver = Client::new(port);
        eventually("chromedriver", PATIENCE, async || {
            let answer = driver.try_get("localhost", "/status").await;
            answer.map_err(|error| format!("{error:?}"))
        })
        .await;
        let arguments = json!([
            "--headless=new",
            // Its own sandbox can't be had as root.
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--host-resolver-rules=MAP * 127.0.0.1",
            format!("--user-data-dir={}", profile.display()),
        ]);
        let options = json!({"goog:chromeOptions": {"args": arguments}});
        let wanted = json!({"capabilities": {"alwaysMatch": options}});
        let session = command(driver, "/session", &wanted).await.unwrap();
        Self {
            driver,
            session: session["sessionId"].as_str().unwrap().to_owned(),
            _chromedriver: chromedriver,
        }
    }

    /// Goes to a page; returns once it is there.
    pub async fn visit(&self, url: &str) {
        self.say("url", &json!({"url": url})).await.unwrap();
    }

    /// Writes into a field of the form, in the place of what was there.
    pub async fn fill(&self, field: &str, text: &str) {
        let field = self.field(field).await;
        self.say(&format!("{field}/clear"), &json!({}))
            .await
            .unwrap();
        self.write(&field, text).await;
    }

    /// Chooses among what a field of the form offers.
    pub async fn choose(&self, field: &str, text: &str) {
        let field = self.field(field).await;
        self.write(&field, text).await;
    }

    /// Clicks on a field of the form: a box is ticked, or no longer.
    pub async fn click(&self, field: &str) {
        let field = self.field(field).await;
        self.press(&field).await;
    }

    /// Submits the form by that button; returns what the next page shows there.
    pub async fn submit(&self, button: &str, shows: &str) -> String {
        let button = self.find(button).await;
        self.press(&button).await;
        let found = self.find(shows).await;
        let text = self.ask(&format!("{found}/text")).await;
        text.as_str().unwrap().to_owned()
    }

    async fn field(&self, name: &str) -> String {
        self.find(&format!("[name='{name}']")).await
    }

    async fn write(&self, element: &str, text: &str) {
        let typed = json!({"text": text});
        self.say(&format!("{element}/value"), &typed).await.unwrap();
    }

    /// Presses on something; what that leads to is awaited by the driver.
    async fn press(&self, element: &str) {
        self.say(&format!("{element}/click"), &json!({}))
            .await
            .unwrap();
    }

    /// The path of the first element that a CSS selector finds, once there is one.
    async fn find(&self, selector: &str) -> String {
        let wanted = json!({"using": "css selector", "value": selector});
        let element = eventually(selector, PATIENCE, async || {
            match self.say("element", &wanted).await {
                Ok(element) => Ok(element),
                Err(refusal) => Err(format!("{refusal}: {}", self.ask("source").await)),
            }
        })
        .await;
        format!("element/{}", element[ELEMENT].as_str().unwrap())
    }

    async fn say(&self, what: &str, with: &Value) -> Result<Value, Refusal> {
        let path = format!("/session/{}/{what}", self.session);
        command(self.driver, &path, with).await
    }

    async fn ask(&self, what: &str) -> Value {
        let path = format!("/session/{}/{what}", self.session);
        let answer = self.driver.get("localhost", &path).await;
        answer.json()["value"].take()
    }
}

/// Has a command carried out.
async fn command(driver: Client, path: &str, with: &Value) -> Result<Value, Refusal> {
    let body = Full::from(Bytes::from(with.to_string()));
    let request = request(Method::POST, "localhost", path);
    let request = request.header(CONTENT_TYPE, "application/json").body(body);
    let answer = driver.send(request.unwrap()).await;
    if answer.status == StatusCode::OK {
        return Ok(answer.json()["value"].take());
    }
    Err(answer.text())
}

impl Drop for Chromedriver {
    fn drop(&mut self) {
        // The processes of Chromium, which don't all end with it.
        for process in Process::of(&self.folder) {
            process.signal(Signal::SIGKILL);
        }
        let _gone = self.child.wait();
    }
}
