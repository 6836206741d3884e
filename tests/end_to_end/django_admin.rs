//! What an editor does in the Django admin, in a browser, with sites that Django keeps: it takes
//! effect at once, and nothing is restarted for it.

use hyper::StatusCode;
use support::desk::{Application, FIRST, MULTISITE, MULTISITE_PLUS};
use support::django::{ADMIN_PASSWORD, Django};
use support::processes::Process;
use support::{Browser, Desk, PATIENCE, eventually};

/// Who sits at a desk.
struct Editor {
    desk: Desk,
    browser: Browser,
}

impl Editor {
    async fn open(template: &str, applications: &[Application]) -> Self {
        let desk = Desk::open(Django::Newest, template, applications).await;
        desk.house.page(FIRST).await;
        let browser = Browser::open(&desk.house.place).await;
        let editor = Self { desk, browser };
        editor.visit("").await;
        editor.browser.fill("username", "admin").await;
        editor.browser.fill("password", ADMIN_PASSWORD).await;
        let login = "#login-form [type=submit]";
        editor.browser.submit(login, "#user-tools").await;
        editor
    }

    /// Goes to a page of the admin, at the first site.
    async fn visit(&self, page: &str) {
        let port = self.desk.house.port;
        let url = format!("http://{FIRST}:{port}/admin/{page}");
        self.browser.visit(&url).await;
    }

    async fn save(&self, expected: &str) {
        let told = self
            .browser
            .submit("[name=_save]", ".messagelist, .errornote")
            .await;
        assert!(told.contains(expected), "{told}");
    }

    async fn add_site(&self, domain: &str) {
        self.visit("sites/site/add/").await;
        self.browser.fill("domain", domain).await;
        self.browser.fill("name", domain).await;
        self.save("was added successfully").await;
    }

    /// What django-multisite-plus has about the second site.
    async fn visit_second(&self) {
        self.visit("multisite_plus/site/2/change/").await;
    }
}

#[tokio::test]
async fn a_site_and_its_alias_answer_once_an_editor_has_saved_them() {
    let editor = Editor::open("gunicorn", &[MULTISITE]).await;
    let (desk, house) = (&editor.desk, &editor.desk.house);
    let red = desk.instance("red-example").await;
    assert!(desk.is_unknown("green.example").await);

    editor.add_site("green.example").await;
    let page = house.page("green.example").await;
    assert_eq!(
        (&page["site_id"], &page["domain"]),
        (&2.into(), &"green.example".into())
    );
    let green = desk.instance("green-example").await;

    editor.visit("multisite/alias/add/").await;
    editor.browser.fill("domain", "verde.example").await;
    editor.browser.fill("site", "2").await;
    editor.browser.click("redirect_to_canonical").await;
    editor.save("was added successfully").await;
    let page = house.page("verde.example").await;
    assert_eq!(
        (&page["site_id"], &page["host"]),
        (&2.into(), &"verde.example".into())
    );

    for (slug, before) in [("red-example", red), ("green-example", green)] {
        let now = desk.instance(slug).await;
        assert_eq!(
            now["incarnation"], before["incarnation"],
            "{slug} was restarted"
        );
    }
}

#[tokio::test]
async fn workers_and_domain_are_changed_and_a_site_is_closed_by_an_editor() {
    let editor = Editor::open("uwsgi", &[MULTISITE, MULTISITE_PLUS]).await;
    let (desk, house) = (&editor.desk, &editor.desk.house);
    let red = desk.instance("red-example").await;
    editor.add_site("green.example").await;
    house.page("green.example").await;

    editor.visit("multisite_plus/site/add/").await;
    editor.browser.choose("site", "green.example").await;
    editor.browser.fill("slug", "green").await;
    editor.browser.fill("real_domain", "green.example").await;
    editor.save("was added successfully").await;
    workers(desk, 1).await;

    editor.visit_second().await;
    editor.browser.fill("extra_uwsgi_ini", "workers = 2").await;
    editor.save("was changed successfully").await;
    workers(desk, 2).await;

    let green = desk.instance("green").await;
    editor.visit_second().await;
    editor.browser.fill("real_domain", "lime.example").await;
    editor.save("was changed successfully").await;
    let page = house.page("lime.example").await;
    assert_eq!(
        (&page["site_id"], &page["host"]),
        (&2.into(), &"lime.example".into())
    );
    assert!(desk.is_unknown("green.example").await);
    workers(desk, 2).await;
    let now = desk.instance("green").await;
    assert_eq!(now["pid"], green["pid"], "green was restarted");

    for expected in [StatusCode::SERVICE_UNAVAILABLE, StatusCode::OK] {
        editor.visit_second().await;
        editor.browser.click("is_enabled").await;
        editor.save("was changed successfully").await;
        answers(desk, "lime.example", expected).await;
    }
    let now = desk.instance("red-example").await;
    assert_eq!(now["incarnation"], red["incarnation"], "red was restarted");
}

/// Waits until that many processes of uWSGI answer for the second site.
async fn workers(desk: &Desk, expected: usize) {
    eventually("the workers of green", PATIENCE, async || {
        let instance = desk.instance("green").await;
        let Some(master) = instance["pid"].as_i64() else {
            return Err(instance.to_string());
        };
        let master = Process::new(i32::try_from(master).unwrap());
        let found = master.children().len();
        (found == expected)
            .then_some(())
            .ok_or_else(|| format!("{found}"))
    })
    .await;
}

async fn answers(desk: &Desk, host: &str, expected: StatusCode) {
    eventually(&format!("{expected} of {host}"), PATIENCE, async || {
        let answer = desk.house.client.get(host, "/").await;
        (answer.status == expected)
            .then_some(())
            .ok_or_else(|| format!("{} {}", answer.status, answer.text()))
    })
    .await;
}
