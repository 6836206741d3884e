//! Tells the emperor what becomes of the requests: when something has changed, and not more often
//! than it can matter.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use site_model::{Incarnation, SiteId};
use tokio::sync::mpsc;
use tokio::time::sleep;
use wire::route::{FromRouter, InstanceLoad, SITES_PER_LOAD, SiteLoad};

use crate::fleet::{Fleet, ThreadLost};
use crate::gauge::Gauge;
use crate::queue::QueueFigures;
use crate::tally::{NotedInstance, ThreadLoad};

/// The least time between two looks. Sites are scaled and judged over seconds.
const PAUSE: Duration = Duration::from_millis(500);
/// How many messages may wait to be sent: none is made before the last one is on its way.
pub(super) const LOAD_BOUND: usize = 1;

/// Tells load on one connection, for as long as it is polled: first all there is, then what changes.
/// While no request comes it waits without a timer; while one waits in a queue it looks again, since
/// that one gets older.
pub(super) async fn tell(
    fleet: Fleet,
    say: mpsc::Sender<FromRouter>,
) -> Result<Infallible, ThreadLost> {
    let mut known = Known::default();
    let mut threads = fleet.whole_load().await?;
    loop {
        let sites = known.look(threads, &fleet.shared.queues.figures());
        for sites in sites.chunks(SITES_PER_LOAD) {
            let sites = sites.to_vec();
            // Whoever sends them ends with the connection, and this too.
            say.send(FromRouter::Load { sites }).await.ok();
        }
        sleep(PAUSE).await;
        if known.queued.is_empty() {
            fleet.shared.stirred.notified().await;
        }
        threads = fleet.load().await?;
    }
}

/// What was said last, as far as it has to be said again when it ends.
#[derive(Debug, Default)]
struct Known {
    /// Sites with waiting requests.
    queued: BTreeSet<SiteId>,
    /// Instances with requests.
    busy: BTreeMap<SiteId, BTreeMap<Incarnation, Arc<Gauge>>>,
}

impl Known {
    /// The load of all sites about which there is something new.
    fn look(
        &mut self,
        threads: Vec<ThreadLoad>,
        queues: &BTreeMap<SiteId, QueueFigures>,
    ) -> Vec<SiteLoad> {
        let mut loads = BTreeMap::new();
        for site in self.queued.iter().chain(queues.keys()) {
            load_of(&mut loads, *site);
        }
        self.queued = queues.keys().copied().collect();
        for thread in threads {
            for (site, count) in thread.came {
                load_of(&mut loads, site).requests += count;
            }
            for noted in thread.instances {
                self.take(load_of(&mut loads, noted.site), noted);
            }
        }
        for (site, load) in &mut loads {
            if let Some(queue) = queues.get(site) {
                load.waiting = queue.waiting;
                load.oldest_ms = u64::try_from(queue.oldest.as_millis()).unwrap_or(u64::MAX);
            }
            self.fill_in(*site, load);
        }
        loads.into_values().collect()
    }

    fn take(&mut self, load: &mut SiteLoad, noted: NotedInstance) {
        let instance = instance_of(load, noted.incarnation);
        instance.answered += noted.signs.answered;
        instance.refused += noted.signs.refused;
        instance.broken += noted.signs.broken;
        instance.late += noted.signs.late;
        let busy = self.busy.entry(noted.site).or_default();
        busy.insert(noted.incarnation, noted.gauge);
    }

    /// Fills in what the gauges say, and forgets those that are back at zero.
    fn fill_in(&mut self, site: SiteId, load: &mut SiteLoad) {
        let Some(busy) = self.busy.get_mut(&site) else {
            return;
        };
        busy.retain(|incarnation, gauge| {
            let instance = instance_of(load, *incarnation);
            instance.requests = gauge.requests();
            // A check's end is noted like any other: nothing has to be said of it again.
            instance.in_flight = gauge.visits();
            instance.tunnels = gauge.tunnels();
            instance.in_flight > 0
        });
        if busy.is_empty() {
            self.busy.remove(&site);
        }
    }
}

fn load_of(loads: &mut BTreeMap<SiteId, SiteLoad>, site: SiteId) -> &mut SiteLoad {
    loads.entry(site).or_insert_with(|| SiteLoad {
        site_id: site.get(),
        requests: 0,
        waiting: 0,
        oldest_ms: 0,
        instances: Vec::new(),
    })
}

/// A site has few instances: looking through them is cheaper than a map.
fn instance_of(load: &mut SiteLoad, incarnation: Incarnation) -> &mut InstanceLoad {
    let instances = &mut load.instances;
    let found = instances
        .iter()
        .position(|known| known.incarnation == incarnation.get());
    let index = found.unwrap_or_else(|| {
        instances.push(InstanceLoad {
            incarnation: incarnation.get(),
            ..InstanceLoad::default()
        });
        instances.len() - 1
    });
    &mut instances[index]
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, timeout};
    use tokio_util::task::AbortOnDropHandle;

    use super::*;
    use crate::gauge::{Gauges, Purpose};
    use crate::order::Order;
    use crate::shared::Shared;
    use crate::tally::Signs;

    fn site() -> SiteId {
        SiteId::new(1).unwrap()
    }

    fn noted(incarnation: u64, gauge: &Arc<Gauge>, signs: Signs) -> NotedInstance {
        NotedInstance {
            site: site(),
            incarnation: Incarnation::new(incarnation),
            gauge: Arc::clone(gauge),
            signs,
        }
    }

    fn thread(came: u64, instances: Vec<NotedInstance>) -> ThreadLoad {
        ThreadLoad {
            came: [(site(), came)].into(),
            instances,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_router_is_silent_and_a_busy_one_speaks_at_most_twice_a_second() {
        let (sender, mut orders) = mpsc::channel(1);
        let shared = Arc::new(Shared::new(1));
        let fleet = Fleet::new(vec![sender], Arc::clone(&shared));
        let (say, mut said) = mpsc::channel(LOAD_BOUND);
        let _telling = AbortOnDropHandle::new(tokio::spawn(tell(fleet, say)));
        let mut answer = async |answer: ThreadLoad| {
            let Some(Order::Load { whole, load }) = orders.recv().await else {
                panic!("no question after load")
            };
            load.send(answer).unwrap();
            (whole, Instant::now())
        };
        let (whole, _) = answer(ThreadLoad::default()).await;
        assert!(whole, "a new emperor knows nothing");
        let an_hour = Duration::from_hours(1);
        let silence = timeout(an_hour, answer(ThreadLoad::default())).await;
        assert!(silence.is_err(), "asked without a reason");

        let before = Instant::now();
        shared.stirred.notify_one();
        let (whole, first) = answer(thread(1, vec![])).await;
        assert_eq!((whole, first - before), (false, Duration::ZERO));
        shared.stirred.notify_one();
        let (_, second) = answer(thread(2, vec![])).await;
        assert!(second - first >= PAUSE);
        for expected in [1, 2] {
            let Some(FromRouter::Load { sites }) = said.recv().await else {
                panic!("no load")
            };
            assert_eq!(sites[0].requests, expected);
        }
    }

    #[test]
    fn what_all_threads_noted_adds_up() {
        let gauge = Gauges::new(2).of(Incarnation::new(7));
        gauge.begin(0, Purpose::Visit);
        gauge.begin(1, Purpose::Visit);
        gauge.end(1, Purpose::Visit);
        gauge.open_tunnel(0);
        let answered = Signs {
            answered: 1,
            ..Signs::default()
        };
        let broken = Signs {
            broken: 2,
            late: 1,
            ..Signs::default()
        };
        let threads = vec![
            thread(1, vec![noted(7, &gauge, answered)]),
            thread(2, vec![noted(7, &gauge, broken)]),
        ];
        let loads = Known::default().look(threads, &BTreeMap::new());
        let instance = InstanceLoad {
            incarnation: 7,
            requests: 2,
            in_flight: 1,
            tunnels: 1,
            answered: 1,
            refused: 0,
            broken: 2,
            late: 1,
        };
        let expected = SiteLoad {
            site_id: 1,
            requests: 3,
            waiting: 0,
            oldest_ms: 0,
            instances: vec![instance],
        };
        assert_eq!(loads, [expected]);
    }

    #[test]
    fn a_busy_instance_is_said_with_its_site_until_it_is_idle() {
        let gauges = Gauges::new(1);
        let [busy, other] = [7, 8].map(|number| gauges.of(Incarnation::new(number)));
        let mut known = Known::default();
        busy.begin(0, Purpose::Visit);
        let first = thread(1, vec![noted(7, &busy, Signs::default())]);
        known.look(vec![first], &BTreeMap::new());
        let of_other = || thread(1, vec![noted(8, &other, Signs::default())]);
        let loads = known.look(vec![of_other()], &BTreeMap::new());
        let incarnations = |loads: &[SiteLoad]| -> Vec<_> {
            let instances = loads[0].instances.iter();
            instances.map(|instance| instance.incarnation).collect()
        };
        assert_eq!(incarnations(&loads), [8, 7]);
        busy.end(0, Purpose::Visit);
        known.look(vec![of_other()], &BTreeMap::new());
        let loads = known.look(vec![of_other()], &BTreeMap::new());
        assert_eq!(incarnations(&loads), [8]);
        assert!(known.busy.is_empty());
    }

    #[test]
    fn an_empty_queue_is_said_once() {
        let mut known = Known::default();
        let figures = QueueFigures {
            waiting: 3,
            oldest: Duration::from_millis(1500),
        };
        let queues = BTreeMap::from([(site(), figures)]);
        let loads = known.look(vec![], &queues);
        assert_eq!((loads[0].waiting, loads[0].oldest_ms), (3, 1500));
        let loads = known.look(vec![], &BTreeMap::new());
        assert_eq!((loads[0].waiting, loads[0].oldest_ms), (0, 0));
        assert_eq!(known.look(vec![], &BTreeMap::new()), []);
    }
}
