//! From `[limits]` to the files of a cgroup.

use vassal_core::settings::Limits;

/// The controllers that `[limits]` can ask for.
pub(super) const CONTROLLERS: [&str; 4] = ["cpu", "io", "memory", "pids"];

/// The time over which processor time is measured out, in microseconds; the kernel's own default.
const CPU_PERIOD: u64 = 100_000;

/// One line to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bound {
    /// The key that asks for it.
    pub(super) key: &'static str,
    /// The controller that can do it.
    pub(super) controller: &'static str,
    /// Its file.
    pub(super) file: &'static str,
    /// What to write.
    pub(super) text: String,
}

impl Bound {
    /// What is told of it where it can't be had.
    pub(super) fn missing(&self, reason: &str) -> String {
        format!("{}: {reason}", self.key)
    }
}

/// What was asked for, in the order in which it is written.
pub(super) fn asked(limits: &Limits) -> impl Iterator<Item = Bound> {
    let Limits {
        memory_max_bytes,
        memory_high_bytes,
        swap_max_bytes,
        cpu_max_percent,
        cpu_weight,
        io_weight,
        pids_max,
        nofile: _,
    } = *limits;
    let cpu_quota = u64::from(cpu_max_percent) * CPU_PERIOD / 100;
    [
        number(
            "limits.memory_max",
            "memory",
            "memory.max",
            memory_max_bytes,
        ),
        number(
            "limits.memory_high",
            "memory",
            "memory.high",
            memory_high_bytes,
        ),
        swap_max_bytes.map(|bytes| {
            bound(
                "limits.swap_max",
                "memory",
                "memory.swap.max",
                bytes.to_string(),
            )
        }),
        (cpu_quota > 0).then(|| {
            let text = format!("{cpu_quota} {CPU_PERIOD}");
            bound("limits.cpu_max", "cpu", "cpu.max", text)
        }),
        number("limits.cpu_weight", "cpu", "cpu.weight", cpu_weight.into()),
        number("limits.io_weight", "io", "io.weight", io_weight.into()).map(|bound| Bound {
            text: format!("default {}", bound.text),
            ..bound
        }),
        number("limits.pids_max", "pids", "pids.max", pids_max),
    ]
    .into_iter()
    .flatten()
}

fn number(
    key: &'static str,
    controller: &'static str,
    file: &'static str,
    value: u64,
) -> Option<Bound> {
    (value > 0).then(|| bound(key, controller, file, value.to_string()))
}

fn bound(key: &'static str, controller: &'static str, file: &'static str, text: String) -> Bound {
    Bound {
        key,
        controller,
        file,
        text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(limits: Limits, expected: &[(&str, &str)]) {
        let found: Vec<_> = asked(&limits)
            .map(|bound| (bound.file, bound.text))
            .collect();
        let found: Vec<_> = found
            .iter()
            .map(|(file, text)| (*file, text.as_str()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn every_limit_is_a_line_of_its_file() {
        check(Limits::default(), &[]);
        let limits = Limits {
            memory_max_bytes: 268_435_456,
            memory_high_bytes: 1024,
            swap_max_bytes: Some(0),
            cpu_max_percent: 150,
            cpu_weight: 50,
            io_weight: 200,
            pids_max: 64,
            nofile: 9,
        };
        let expected = [
            ("memory.max", "268435456"),
            ("memory.high", "1024"),
            ("memory.swap.max", "0"),
            ("cpu.max", "150000 100000"),
            ("cpu.weight", "50"),
            ("io.weight", "default 200"),
            ("pids.max", "64"),
        ];
        check(limits, &expected);
    }
}
