//! The link against a router that the test plays itself.

mod fake_router;

use bytes::BytesMut;
use futures_util::FutureExt;
use site_model::RouteTable;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wire::frame;
use wire::route::RouterStats;

use super::super::caches::Forget;
use super::*;
use crate::daemon::router::roster::Standing;
use crate::daemon::router::settings::fixture::settings;
use fake_router::{FakeRouter, closed_house, house, route};

fn ids(table: &RouteTable) -> Vec<i64> {
    let mut ids: Vec<_> = table.sites().map(|route| route.id.get()).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn a_router_gets_settings_the_whole_table_and_then_changes() {
    let house = house();
    let first = house.board.publish(route(1, 1));
    let mut router = FakeRouter::connect(&house).await;
    router.follow_to(first).await;
    assert_eq!(ids(&router.table), [1]);
    assert_eq!(router.settings, Some(settings("")));

    let second = house.board.publish(route(2, 2));
    router.follow_to(second).await;
    assert_eq!(ids(&router.table), [1, 2]);

    let third = house.board.withdraw(SiteId::new(1).unwrap());
    router.follow_to(third).await;
    assert_eq!(ids(&router.table), [2]);
}

#[tokio::test(start_paused = true)]
async fn a_router_gets_no_table_before_the_rows_are_known() {
    let house = closed_house();
    let mut router = FakeRouter::connect(&house).await;
    let early = house.board.publish(route(1, 1));
    // The hour passes as soon as nobody has anything more to say.
    let waiting = timeout(Duration::from_hours(1), router.follow_to(early));
    assert!(waiting.await.is_err(), "it got the table");
    house.board.open();
    router.follow_to(early).await;
    assert_eq!(ids(&router.table), [1]);
}

#[tokio::test]
async fn a_table_larger_than_a_frame_arrives_whole() {
    let house = house();
    let count = i64::try_from(ROUTES_PER_PART).unwrap() * 2 + 1;
    let mut last = Generation::default();
    let mut router = FakeRouter::connect(&house).await;
    for id in 1..=count {
        last = house.board.publish(route(id, 1));
    }
    router.follow_to(last).await;
    assert_eq!(ids(&router.table), (1..=count).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_acknowledgement_releases_those_who_wait_for_that_generation() {
    let house = house();
    let generation = house.board.publish(route(1, 1));
    let mut router = FakeRouter::connect(&house).await;
    router.follow_to(generation).await;
    router
        .say(&FromRouter::Acknowledged {
            generation: generation.get(),
        })
        .await;
    house.board.acknowledged(generation).await;
    assert_eq!(house.board.acknowledged_generation(), generation);
}

#[tokio::test]
async fn a_route_published_twice_is_one_change() {
    let house = house();
    let first = house.board.publish(route(1, 1));
    let mut router = FakeRouter::connect(&house).await;
    router.follow_to(first).await;
    assert_eq!(house.board.publish(route(1, 1)), first);
}

#[tokio::test]
async fn a_router_that_met_a_gap_gets_the_table_again() {
    let house = house();
    let generation = house.board.publish(route(1, 1));
    let mut router = FakeRouter::connect(&house).await;
    router.follow_to(generation).await;
    router.table = RouteTable::default();
    router.say(&FromRouter::ResendTable).await;
    router.follow_to(generation).await;
    assert_eq!(ids(&router.table), [1]);
}

#[tokio::test]
async fn who_waits_for_idleness_outlives_the_router_that_was_asked() {
    let house = house();
    let (site, incarnation) = (SiteId::new(1).unwrap(), Incarnation::new(5));
    let asked = ToRouter::AwaitIdle {
        site_id: 1,
        incarnation: 5,
    };
    let waiting = house.board.idle(site, incarnation);
    tokio::pin!(waiting);

    let mut first = FakeRouter::connect(&house).await;
    let heard =
        tokio::select! { () = &mut waiting => panic!("idle"), q = first.hear_question() => q };
    assert_eq!(heard, asked);
    drop(first);

    let mut second = FakeRouter::connect(&house).await;
    let heard =
        tokio::select! { () = &mut waiting => panic!("idle"), q = second.hear_question() => q };
    assert_eq!(heard, asked);
    second
        .say(&FromRouter::Idle {
            site_id: 1,
            incarnation: 5,
        })
        .await;
    waiting.await;
}

#[tokio::test]
async fn figures_are_asked_for_and_a_lost_router_has_none() {
    let house = house();
    assert_eq!(house.board.stats().await, None, "no router is connected");

    let mut router = FakeRouter::connect(&house).await;
    house.board.peer().wait_for(Option::is_some).await.unwrap();
    let answered = async {
        let ToRouter::AskStats { token } = router.hear_question().await else {
            panic!()
        };
        let stats = RouterStats {
            requests: 3,
            ..RouterStats::default()
        };
        router.say(&FromRouter::Stats { token, stats }).await;
        router
    };
    let (stats, mut router) = tokio::join!(house.board.stats(), answered);
    assert_eq!(stats.map(|stats| stats.requests), Some(3));

    let lost = async {
        router.hear_question().await;
        drop(router);
    };
    let (stats, ()) = tokio::join!(house.board.stats(), lost);
    assert_eq!(stats, None);
}

#[tokio::test]
async fn a_peer_of_another_version_is_refused_and_the_next_one_served() {
    let house = house();
    let mut stranger = UnixStream::connect(&house.socket).await.unwrap();
    let mut out = BytesMut::new();
    let hello = FromRouter::Hello {
        protocol: 99,
        pid: 1,
        version: "x".into(),
        purged: None,
        knows_pools: false,
    };
    frame::encode(&hello, &mut out).unwrap();
    stranger.write_all(&out).await.unwrap();
    assert_eq!(
        stranger.read(&mut [0; 8]).await.unwrap(),
        0,
        "it was not hung up on"
    );

    let generation = house.board.publish(route(1, 1));
    FakeRouter::connect(&house)
        .await
        .follow_to(generation)
        .await;
}

#[tokio::test]
async fn a_router_that_was_replaced_follows_the_table_and_counts_until_it_is_gone() {
    let house = house();
    let first = house.board.publish(route(1, 1));
    let _enlisted = house.board.roster().enlist(10, Standing::New);
    let (mut old, _conversing) = FakeRouter::connect_as(10, &house).await;
    let mut new = FakeRouter::connect(&house).await;
    for router in [&mut old, &mut new] {
        router.follow_to(first).await;
        router.acknowledge().await;
    }
    house.board.acknowledged(first).await;

    let second = house.board.publish(route(1, 2));
    new.follow_to(second).await;
    new.acknowledge().await;
    assert_eq!(ids(&new.table), [1]);
    assert!(
        house.board.acknowledged_generation() < second,
        "the old one leads to the instance yet"
    );
    old.follow_to(second).await;
    old.acknowledge().await;
    house.board.acknowledged(second).await;
    assert_eq!(ids(&old.table), [1]);
}

#[tokio::test]
async fn an_instance_is_idle_when_it_is_in_every_router_and_one_that_is_gone_has_nothing() {
    let house = house();
    let enlisted = house.board.roster().enlist(10, Standing::New);
    let (mut old, _conversing) = FakeRouter::connect_as(10, &house).await;
    let mut new = FakeRouter::connect(&house).await;
    let instance = (SiteId::new(1).unwrap(), Incarnation::new(5));
    let waiting = house.board.idle(instance.0, instance.1);
    tokio::pin!(waiting);
    for router in [&mut old, &mut new] {
        tokio::select! {
            () = &mut waiting => panic!("idle"),
            heard = router.hear_question() => assert!(matches!(heard, ToRouter::AwaitIdle { .. })),
        }
    }
    let idle = FromRouter::Idle {
        site_id: 1,
        incarnation: 5,
    };
    new.say(&idle).await;
    // Whoever accepts answers for the figures, after it was heard.
    let figures = async {
        let ToRouter::AskStats { token } = new.hear_question().await else {
            panic!()
        };
        let stats = RouterStats::default();
        new.say(&FromRouter::Stats { token, stats }).await;
    };
    let (stats, ()) = tokio::join!(house.board.stats(), figures);
    assert!(stats.is_some());
    assert_eq!((&mut waiting).now_or_never(), None);
    drop(enlisted);
    waiting.await;
}

#[tokio::test]
async fn a_stranger_is_not_listened_to_until_it_is_a_router() {
    let house = house();
    let generation = house.board.publish(route(1, 1));
    let (mut early, _conversing) = FakeRouter::connect_as(10, &house).await;
    // Nothing is said to it before the keeper has named it.
    tokio::select! {
        biased;
        heard = early.hear() => panic!("{heard:?}"),
        () = tokio::task::yield_now() => {}
    }
    let _enlisted = house.board.roster().enlist(10, Standing::New);
    early.follow_to(generation).await;
    assert_eq!(ids(&early.table), [1]);
}

#[tokio::test]
async fn a_router_that_lags_gets_every_step_and_one_far_behind_the_table() {
    let board = RouteBoard::new(settings(""));
    let (mut quick, _) = board.follow();
    let (mut slow, _) = board.follow();
    for id in 1..=2 {
        board.publish(route(id, 1));
        assert!(matches!(quick.news().table, TableNews::Step(_)));
    }
    for generation in 1..=2 {
        let TableNews::Step(step) = slow.news().table else {
            panic!("no step {generation}")
        };
        assert_eq!(step.generation, Generation::new(generation));
    }
    assert!(matches!(slow.news().table, TableNews::Nothing));
    for id in 3..300 {
        board.publish(route(id, 1));
        quick.news();
    }
    let TableNews::Whole(whole) = slow.news().table else {
        panic!("more than a few steps were kept")
    };
    assert_eq!(whole.routes.len(), 299);
}

#[tokio::test]
async fn a_cache_forgets_what_is_purged_before_it_is_used_and_says_so() {
    let house = house();
    let mut confirmed = house.board.caches().confirmed();
    confirmed.mark_unchanged();
    let mut router = FakeRouter::with_cache(&house).await;
    let number = house.board.caches().tell(Forget::Everything);
    house.board.caches().renew(Instant::now());
    assert_eq!(
        router.hear_question().await,
        ToRouter::PurgeAll { sequence: number }
    );
    assert_eq!(router.hear_question().await, ToRouter::ResumeCache);
    router.say(&FromRouter::Purged { sequence: number }).await;
    confirmed.wait_for(|known| *known == number).await.unwrap();
    house.board.caches().suspend();
    assert_eq!(router.hear_question().await, ToRouter::SuspendCache);
}

#[tokio::test]
async fn what_is_stored_is_asked_of_the_router() {
    let house = house();
    let mut router = FakeRouter::with_cache(&house).await;
    house.board.peer().wait_for(Option::is_some).await.unwrap();
    let asked = house
        .board
        .pages(SiteId::new(3).unwrap(), Some("/a".into()));
    let answered = async {
        let ToRouter::AskCache {
            token,
            site_id: 3,
            path,
        } = router.hear_question().await
        else {
            panic!()
        };
        assert_eq!(path.as_deref(), Some("/a"));
        let pages = vec![];
        router.say(&FromRouter::CachePages { token, pages }).await;
    };
    let (pages, ()) = tokio::join!(asked, answered);
    assert_eq!(pages, Some(vec![]));
}
