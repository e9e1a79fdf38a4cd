-- The best single-store design: the accrual's row is its ledger row, and the statement that raises the balance writes it.
create table member (
  id integer generated always as identity primary key,
  code text not null,
  balance bigint not null default 0
-- Half of each page is free, so that a new balance stays on its page and touches no index.
) with (fillfactor = 50);
create unique index member_code on member (code);
create table ledger (
  id bigint generated always as identity primary key,
  reference text not null,
  member integer not null,
  points bigint not null,
  balance_after bigint not null,
  occurred_at timestamptz not null,
  created_at timestamptz not null default now(),
  request json not null
);
create unique index ledger_reference on ledger (reference);
create index ledger_member on ledger (member, id);
-- One budget of a campaign, for the load in which everybody hits it.
create table campaign (id integer primary key, points_left bigint not null) with (fillfactor = 50);
insert into campaign values (1, 1000000000000);
insert into member (code) select 'm-' || lpad(number::text, 7, '0') from generate_series(0, 9999) as number;
analyze member;
