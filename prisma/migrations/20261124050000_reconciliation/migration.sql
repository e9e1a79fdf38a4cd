-- Reconciliation: what partners say they booked beside what we have booked with them, the lines that differ, and the disputes about them.
-- Safe while older code runs: it does not know the tables. (The index on exchanges is built while exchanges wait, a second for a million.)

-- A comparison that was made of a partner's file, or of a day by its hash tree. What was refused is only in the audit log.
create table reconciliation (
  reconciliation bigint generated always as identity primary key,
  program integer not null references program,
  partner integer not null references partner,
  source text not null check (source in ('file', 'tree')),
  -- The partner's own number of the file; without a gap.
  sequence integer check (sequence >= 1),
  period_from timestamptz not null,
  period_until timestamptz not null check (period_until > period_from),
  -- Of the file's lines, or of the partner's tree.
  digest text not null,
  lines integer not null,
  matched integer not null,
  -- How many of each difference.
  differences json not null,
  made_at timestamptz not null default now(),
  made_by text not null,
  unique (partner, sequence),
  check ((source = 'file') = (sequence is not null))
);
create index reconciliation_program on reconciliation (program, reconciliation);
select make_append_only('reconciliation');

-- Held by whoever books the next file of a partner.
create table reconciliation_series (partner integer primary key references partner);

create table reconciliation_difference (
  reconciliation bigint not null references reconciliation,
  number integer not null,
  difference text not null check (difference in ('missing_here', 'missing_there', 'amount', 'date', 'duplicate', 'status')),
  -- Of the file, counted with its header.
  line integer,
  made_by text not null check (made_by in ('us', 'them')),
  kind text not null check (kind in ('accrual', 'redemption', 'reversal')),
  reference text not null,
  their_points bigint,
  their_currency text,
  their_occurred_at timestamptz,
  their_status text,
  our_points bigint,
  our_currency text,
  our_occurred_at timestamptz,
  our_status text,
  primary key (reconciliation, number)
);
select make_append_only('reconciliation_difference');

-- Files that were written for partners, numbered without a gap.
create table reconciliation_export (
  partner integer not null references partner,
  sequence integer not null check (sequence >= 1),
  period_from timestamptz not null,
  period_until timestamptz not null,
  digest text not null,
  lines integer not null,
  made_at timestamptz not null default now(),
  made_by text not null,
  primary key (partner, sequence)
);
select make_append_only('reconciliation_export');

-- A line that the two sides have to agree on.
create table dispute (
  dispute bigint generated always as identity primary key,
  program integer not null references program,
  partner integer not null references partner,
  reconciliation bigint not null,
  number integer not null,
  status text not null check (status in ('open', 'answered', 'settled')),
  -- How it was settled: whose books stand.
  outcome text check (outcome in ('ours', 'theirs', 'neither')),
  -- In the program's zone, by the days that the contract gives.
  due_on date not null,
  opened_at timestamptz not null default now(),
  unique (reconciliation, number),
  foreign key (reconciliation, number) references reconciliation_difference,
  check ((status = 'settled') = (outcome is not null))
);
create index dispute_queue on dispute (program, due_on, dispute) where status <> 'settled';
create index dispute_program on dispute (program, dispute);

create table dispute_step (
  dispute bigint not null references dispute,
  step smallint not null,
  status text not null check (status in ('open', 'answered', 'settled')),
  actor text not null,
  reason text not null,
  at timestamptz not null default now(),
  primary key (dispute, step)
);
select make_append_only('dispute_step');

-- Calls on a partner by the time that it was told.
create index exchange_occurred on exchange (partner, occurred_at) where sent_at is not null;

insert into compatible_migration (migration) values ('20261124050000_reconciliation');
