-- What limits of exchanges look at: how the name of a linked account stood to the member's, and the card that a quote was asked for with.
-- Safe while older code runs: it compares no names for links and counts no cards, and leaves both empty.

-- `full`, `initials`, or not compared at all; a name that differs links nothing.
alter table partner_link add column name text not null default 'not_compared' check (name in ('full', 'initials', 'not_compared'));
-- Members that an account was linked with, also those whose link is over.
create index partner_link_account_ever on partner_link (account_hash, client, linked_at);

-- An erasure forgets the cards of its member.
create index exchange_use_carded on exchange_use (member) where card is not null;

-- Keyed hash of the card, as `exchange_use` has it; of a quote alone.
alter table exchange add column card text;

insert into compatible_migration (migration) values ('20261125110000_exchange_limits');
