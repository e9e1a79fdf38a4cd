-- Clearing: what the books say of partners, entry by entry, read out of them by `workers/alliance.ts`, and the statements made
-- of it.
-- Safe while older code runs: it does not know these tables, and nothing older writes what they are made of in another way.

-- One row for each partner, currency and reason of an operation; never changed. `npm run settlement -- check` compares them
-- with the books.
create table clearing_entry (
  operation uuid not null,
  line smallint not null,
  -- The operation's place in the books.
  shard smallint not null,
  epoch integer not null,
  seq bigint not null,
  program integer not null references program,
  partner integer not null references partner,
  -- The version that it is priced by; null where none was ever in force.
  contract integer,
  kind text not null check (kind in ('accrual', 'redemption', 'exchange_in', 'exchange_out', 'reversal', 'correction', 'cost_share', 'cost_share_reversal')),
  -- Which price of the contract it has.
  price text not null check (price in ('issue', 'redemption')),
  -- The account of the ledger that it stands in, with this party; null where it stands in nobody's name (a share of what another funds).
  account text check (account in ('partner', 'issuance')),
  party integer not null,
  -- As the partner knows it: its own reference, or that of the exchange.
  reference text not null,
  original_reference text,
  member bigint not null,
  -- The program's own currency.
  currency smallint not null,
  -- As in the ledger: positive went to the partner, negative came from it.
  points bigint not null check (points <> 0),
  -- Of them, what blocks bought in advance have paid for.
  prepaid bigint not null default 0 check (prepaid = 0 or (sign(prepaid) = sign(points) and abs(prepaid) <= abs(points))),
  -- What the partner bears of it, in hundredths of a percent.
  share smallint not null default 10000 check (share between 0 and 10000),
  -- The rule or promotion that a share is of.
  rule text,
  -- By the program's own clock.
  at timestamptz not null,
  occurred_at timestamptz not null,
  booked_at timestamptz not null,
  -- First day of the month in the program's zone in which it happened, and of the one whose statement it is in: a later one where
  -- the first was closed when it was read.
  of_period date not null,
  period date not null check (period >= of_period),
  primary key (operation, line)
);
create index clearing_entry_period on clearing_entry (partner, period, operation, line);
create index clearing_entry_time on clearing_entry (partner, occurred_at);
create index clearing_entry_reference on clearing_entry (partner, reference);
select make_append_only('clearing_entry');

-- How far a shard's operations are cleared, as `diary_position` has it.
create table clearing_position (
  shard smallint primary key,
  epoch integer not null default 0,
  seq bigint not null default 0,
  operation uuid,
  read_through_at timestamptz not null default '-infinity'
);

-- Through which month a partner's statements are made. Whoever adds an entry holds the row, and so does who closes.
create table clearing_closed (
  partner integer primary key references partner,
  through date not null default '-infinity'
);

create function check_period_open() returns trigger language plpgsql as $$
declare
  closed date;
begin
  insert into clearing_closed (partner) values (new.partner) on conflict do nothing;
  select through into closed from clearing_closed where partner = new.partner for share;
  if new.period <= closed then
    raise exception 'the period % of partner % is closed through %', new.period, new.partner, closed using errcode = 'check_violation';
  end if;
  return new;
end $$;
create trigger period_open before insert on clearing_entry for each row execute function check_period_open();

create function check_closed_stays() returns trigger language plpgsql as $$
begin
  if tg_op = 'DELETE' or new.through < old.through or new.partner <> old.partner then
    raise exception 'what is closed for partner % is not opened again', old.partner using errcode = 'check_violation';
  end if;
  return new;
end $$;
create trigger closed_stays before update or delete on clearing_closed for each row execute function check_closed_stays();

insert into compatible_migration (migration) values ('20261124040000_clearing');
