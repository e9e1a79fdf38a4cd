-- Partners that take exchanges in files: a request file goes out, a reply file comes in, both with a number without gaps.
-- Safe while older code runs: it does not know the tables. (An older worker would call such a partner at its address: replace all
-- API and alliance processes before `npm run exchanges -- batch on`.)

alter table partner_endpoint add column delivery text not null default 'calls' check (delivery in ('calls', 'files'));

create table exchange_file (
  partner integer not null,
  direction text not null check (direction in ('request', 'reply')),
  sequence integer not null check (sequence > 0),
  made_at timestamptz not null default now(),
  details integer not null,
  digest text not null,
  -- Of a request, so that it can be written again as it was; sealed, because it names members' accounts.
  content_sealed bytea,
  primary key (partner, direction, sequence)
);

insert into compatible_migration (migration) values ('20261124060200_exchange_files');
