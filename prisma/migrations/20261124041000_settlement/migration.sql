-- Statements of what partners and the program owe one another, month by month.
-- Safe while older code runs: it does not know these tables. (Events about no member are new; an older API shows them with a
-- member that does not exist.)

-- The last number of a statement; whoever takes the next holds the row until the statement is committed, so no number is left out.
create table settlement_number (
  program integer primary key references program,
  last integer not null default 0
);

create table settlement (
  settlement bigint generated always as identity primary key,
  program integer not null references program,
  partner integer not null references partner,
  -- First day of the month in the program's zone.
  period date not null,
  -- Of the money, ISO 4217.
  currency text not null,
  -- Null where it was too small to be sent: it is carried over to the next month.
  number integer,
  status text not null check (status in ('issued', 'disputed', 'paid', 'carried')),
  -- Minor units; positive where the partner owes.
  amount bigint not null,
  tax bigint not null,
  -- Of amount and tax, what was paid or netted.
  settled bigint not null default 0 check (settled = 0 or (sign(settled) = sign(amount + tax) and abs(settled) <= abs(amount + tax))),
  -- The contract whose minimum, netting group and days to dispute it has.
  contract integer,
  netting_group text,
  -- By the program's own clock.
  issued_at timestamptz not null,
  issued_by text not null,
  dispute_until timestamptz not null,
  -- Lines in dispute; empty: none.
  disputed smallint[] not null default '{}',
  check ((status = 'carried') = (number is null) and (status = 'disputed') = (disputed <> '{}')),
  check (status <> 'paid' or settled = amount + tax),
  unique (partner, period, currency),
  unique (program, number)
);
create index settlement_of_program on settlement (program, settlement);

create table settlement_line (
  settlement bigint not null references settlement,
  line smallint not null,
  -- Of clearing entries, or 'carried' and 'credit' of adjustments.
  kind text not null,
  price text,
  contract integer,
  -- The program's own currency.
  points_currency smallint,
  rule text,
  share smallint not null,
  -- The month in which it happened: an earlier one where it came late.
  of_period date not null,
  entries bigint not null,
  points bigint not null,
  prepaid bigint not null,
  -- The exact amount is numerator / denominator minor units; `amount` is that, rounded once, half to even.
  numerator numeric not null,
  denominator numeric not null check (denominator > 0),
  amount bigint not null,
  tax_basis_points integer not null,
  tax bigint not null,
  primary key (settlement, line)
);
select make_append_only('settlement_line');

-- What changes a later statement because an earlier one is closed: what was too small, what a dispute has credited.
create table settlement_adjustment (
  adjustment bigint generated always as identity primary key,
  partner integer not null references partner,
  period date not null,
  currency text not null,
  kind text not null check (kind in ('carried', 'credit')),
  amount bigint not null,
  tax bigint not null,
  tax_basis_points integer not null,
  of_settlement bigint not null references settlement,
  of_line smallint,
  reason text not null,
  made_at timestamptz not null default now(),
  made_by text not null
);
create unique index settlement_adjustment_once on settlement_adjustment (of_settlement, kind, coalesce(of_line, -1));
create index settlement_adjustment_period on settlement_adjustment (partner, period);
select make_append_only('settlement_adjustment');
create trigger period_open before insert on settlement_adjustment for each row execute function check_period_open();

-- What became of a statement, by whom and why.
create table settlement_step (
  step bigint generated always as identity primary key,
  settlement bigint not null references settlement,
  at timestamptz not null default clock_timestamp(),
  action text not null check (action in ('issued', 'carried', 'disputed', 'upheld', 'credited', 'paid', 'netted')),
  actor text not null,
  reason text,
  lines smallint[] not null default '{}',
  amount bigint
);
create index settlement_step_of on settlement_step (settlement, step);
select make_append_only('settlement_step');

-- What was netted together, and who pays whom: by partners' names, 'program' being the program itself.
create table settlement_netting (
  netting bigint generated always as identity primary key,
  program integer not null references program,
  netting_group text,
  currency text not null,
  settlements bigint[] not null,
  positions json not null,
  payments json not null,
  made_at timestamptz not null default now(),
  made_by text not null
);
select make_append_only('settlement_netting');

-- A statement keeps what it says; only its status moves on, by these steps.
create function check_settlement_stays() returns trigger language plpgsql as $$
begin
  if tg_op = 'DELETE' then
    raise exception 'a statement is not deleted' using errcode = 'check_violation';
  end if;
  if (to_jsonb(new) - '{status,settled,disputed}'::text[]) is distinct from (to_jsonb(old) - '{status,settled,disputed}'::text[])
    or abs(new.settled) < abs(old.settled)
    or (old.status, new.status) not in (('issued', 'issued'), ('issued', 'disputed'), ('issued', 'paid'), ('disputed', 'disputed'), ('disputed', 'issued'), ('disputed', 'paid'))
  then
    raise exception 'statement % keeps what it says', old.settlement using errcode = 'check_violation';
  end if;
  return new;
end $$;
create trigger settlement_stays before update or delete on settlement for each row execute function check_settlement_stays();

-- An event may be about a partner.
alter table event alter column member drop not null;

insert into compatible_migration (migration) values ('20261124041000_settlement');
