-- What the minimal writer fills: columns and indexes as in our own books, less shards, epochs, leases and the hash chain.
create table operation (
  operation uuid primary key,
  seq bigint not null,
  program integer not null,
  client integer not null,
  kind text not null,
  member bigint not null,
  order_reference text,
  reference_key uuid not null,
  fingerprint text,
  at timestamptz not null,
  occurred_at timestamptz not null,
  posted_at timestamptz not null default now(),
  request json not null,
  effect json not null
);
create unique index operation_seq on operation (seq);
create index operation_member on operation (member, seq);
create index operation_order on operation (program, order_reference) where order_reference is not null;
create unique index operation_reference on operation (reference_key);
create table entry (
  seq bigint not null,
  line smallint not null,
  account text not null,
  program integer not null,
  currency smallint not null,
  points bigint not null check (points <> 0),
  member bigint,
  lot integer,
  primary key (seq, line)
);
create table balance (
  account text not null,
  member bigint not null,
  points bigint not null,
  primary key (account, member)
) with (fillfactor = 70);
create table position (
  only_row boolean primary key default true check (only_row),
  -- Of the last record that was written.
  id text not null,
  records bigint not null,
  -- The number of the last operation, over all rounds.
  seq bigint not null
);
insert into position (id, records, seq) values ('0-0', 0, 0);
