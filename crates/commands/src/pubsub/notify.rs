//! Keyspace notifications: events as messages, on the channels `__keyspace@<db>__:<key>` and `__keyevent@<db>__:<event>`.

use super::{Delivery, Topic};
use crate::effects::{Event, EventClass};
use crate::global::Global;

/// Delivers an event, as `notify-keyspace-events` says.
pub(crate) fn deliver(event: &Event, global: &Global, delivery: &mut Delivery<'_>) {
    let channels = global.settings.event_channels;
    let mut channel = Vec::with_capacity(32 + event.key.len());
    if channels.contains(EventClass::KEYSPACE) {
        channel.extend_from_slice(format!("__keyspace@{}__:", event.db.0).as_bytes());
        channel.extend_from_slice(&event.key);
        delivery.publish(Topic::Channel, &channel, event.name.as_bytes());
    }
    if channels.contains(EventClass::KEYEVENT) {
        channel.clear();
        channel.extend_from_slice(format!("__keyevent@{}__:{}", event.db.0, event.name).as_bytes());
        delivery.publish(Topic::Channel, &channel, &event.key);
    }
}

#[cfg(test)]
mod tests {
    use crate::telling::Telling;
    use crate::testing::Rig;

    #[test]
    fn events_become_messages() {
        let mut rig = Rig::recording();
        rig.client(2).run("PSUBSCRIBE __key*");
        let mut told = |letters: &str, command: &str| {
            rig.client(1).run(&format!("CONFIG SET notify-keyspace-events {letters}"));
            rig.readers.events = rig.world.global.settings.events;
            rig.effects.clear();
            rig.run(command);
            let stats = rig.host.stats[0].clone();
            Telling::of(&rig.world.global, &rig.host, &stats, 0).tell(&mut rig.effects, None);
            assert!(rig.effects.events().is_empty());
            rig.pushes(2).replace("*4 $8 pmessage $6 __key* ", "")
        };
        assert_eq!(
            told("KEA", "SET a 1 EX 100"),
            "$16 __keyspace@0__:a $3 set $18 __keyevent@0__:set $1 a $16 __keyspace@0__:a $6 expire $21 __keyevent@0__:expire $1 a"
        );
        assert_eq!(told("K$", "SET a 1 EX 100"), "$16 __keyspace@0__:a $3 set");
        assert_eq!(told("Eg", "DEL a"), "$18 __keyevent@0__:del $1 a");
        assert_eq!(told("A", "SET a 1"), "");
        assert_eq!(told("Em", "GET nosuch"), "$22 __keyevent@0__:keymiss $6 nosuch");
    }
}
