-- Operations and their entries in partitions by time, so that what is written and read today stays in memory however old
-- the ledger is, and so that old months can be taken out (`npm run partitions`).
-- Stops older versions: an entry is named by its operation instead of shard, epoch and number, which older writers cannot
-- write and older audits cannot read. Stop every process first.
--
-- Both tables are cut by the operation's id, whose first 48 bits are its time in milliseconds (UUIDv7), at the beginnings
-- of months in UTC. An id stays unique over the whole ledger, a look-up by it goes to one partition, and an operation and
-- its entries are always in the same month. Beside the months:
--   *_past    everything before the first month: empty, or what was there before this migration
--   *_ahead   everything after the last month: empty as long as upkeep adds months in time (`extend_ledger`)
-- so that no id, however wrong its clock, ever lacks a partition. There is no default partition: with one, PostgreSQL
-- could not read partitions in the order of their ids and stop at the newest (a member's last operation).

-- A ledger of ten million operations takes some minutes; nothing else runs meanwhile.
set local lock_timeout = '30s';
set local statement_timeout = '4h';

-- ── Ids and times ───────────────────────────────────────────────────────────────────────────────────────────────────

create function id_ms(id uuid) returns bigint language sql immutable strict parallel safe as
$$ select ('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint $$;

create function first_id_of_ms(ms bigint) returns uuid language sql immutable strict parallel safe as
$$ select (lpad(to_hex(greatest(ms, 0)), 12, '0') || repeat('0', 20))::uuid $$;

create function first_id_of(at timestamptz) returns uuid language sql immutable strict parallel safe as
$$ select first_id_of_ms(floor(extract(epoch from at) * 1000)::bigint) $$;

-- ── Append-only ─────────────────────────────────────────────────────────────────────────────────────────────────────

-- Triggers of a statement are those of the table that it names, so every partition has its own.
create function make_append_only(relation regclass) returns void language plpgsql as $$
begin
  execute format('create trigger append_only before update or delete or truncate on %s for each statement execute function refuse_change()', relation);
end $$;

drop trigger block_append_only on block;
select make_append_only('block');

-- ── The tables ──────────────────────────────────────────────────────────────────────────────────────────────────────

lock table operation, entry in access exclusive mode;
drop trigger operation_append_only on operation;
drop trigger entry_append_only on entry;

alter table operation rename to operation_past;
alter index operation_pkey rename to operation_past_pkey;
alter index operation_position rename to operation_past_position;
alter index operation_order rename to operation_past_order;
alter index operation_conflict rename to operation_past_conflict;
drop index operation_member;
create index operation_past_member on operation_past (member, operation);

create table operation (like operation_past including defaults) partition by range (operation);
alter table operation add primary key (operation);
create index operation_member on operation (member, operation);
create index operation_order on operation (program, order_reference) where order_reference is not null;
create index operation_conflict on operation (operation) where conflict_with is not null;

alter table entry rename to entry_by_position;
alter index entry_pkey rename to entry_by_position_pkey;

-- Wide columns first, so that nothing is padded: 89 bytes an entry with its index's 41, where the position took 89 and 71.
create table entry (
  operation uuid not null,
  points bigint not null check (points <> 0),
  member bigint,
  program integer not null,
  account account not null,
  lot integer,
  party integer,
  currency smallint not null,
  line smallint not null,
  -- That of its operation, for sums by shard.
  shard smallint not null,
  hold uuid,
  primary key (operation, line)
) partition by range (operation);

create table entry_past (like entry including all);
insert into entry_past (operation, points, member, program, account, lot, party, currency, line, shard, hold)
  select o.operation, e.points, e.member, e.program, e.account, e.lot, e.party, e.currency, e.line, e.shard, e.hold
  from entry_by_position e join operation_past o using (shard, epoch, seq) order by o.operation, e.line;

do $$
declare
  lost bigint := (select count(*) from entry_by_position) - (select count(*) from entry_past);
  -- Where the first month begins: this one in a new installation, else the one after the newest operation.
  first_month timestamp := date_trunc('month', now() at time zone 'UTC');
  newest_ms bigint := (select id_ms(operation) from operation_past order by operation desc limit 1);
begin
  if lost <> 0 then
    raise exception '% entries have no operation: run the audit of the version before and put that right first', lost;
  end if;
  if newest_ms is not null then
    first_month := date_trunc('month', greatest(now(), to_timestamp(newest_ms / 1000.0)) at time zone 'UTC') + interval '1 month';
  end if;
  execute format('alter table operation attach partition operation_past for values from (minvalue) to (%L)', first_id_of(first_month at time zone 'UTC'));
  execute format('alter table entry attach partition entry_past for values from (minvalue) to (%L)', first_id_of(first_month at time zone 'UTC'));
  execute format('create table operation_ahead partition of operation for values from (%L) to (maxvalue)', first_id_of(first_month at time zone 'UTC'));
  execute format('create table entry_ahead partition of entry for values from (%L) to (maxvalue)', first_id_of(first_month at time zone 'UTC'));
end $$;

drop table entry_by_position;
create unique index operation_ahead_position on operation_ahead (shard, epoch, seq);
select make_append_only(relation::regclass)
  from unnest(array['operation', 'operation_past', 'operation_ahead', 'entry', 'entry_past', 'entry_ahead']) as relation;

-- ── Months ──────────────────────────────────────────────────────────────────────────────────────────────────────────

-- Makes the tables of one stretch of ids beside the ledger. Numbers are unique within a stretch; over all of them the
-- locked row of the position sees to it, and the audit (`density`).
create function create_stretch(stretch text) returns void language plpgsql as $$
begin
  execute format('create table operation_%s (like operation including all)', stretch);
  execute format('create unique index operation_%1$s_position on operation_%1$s (shard, epoch, seq)', stretch);
  execute format('create table entry_%s (like entry including all)', stretch);
  perform make_append_only(('operation_' || stretch)::regclass), make_append_only(('entry_' || stretch)::regclass);
end $$;

create function attach_stretch(stretch text, from_id text, to_id text) returns void language plpgsql as $$
begin
  execute format('alter table operation attach partition operation_%s for values from (%s) to (%s)', stretch, from_id, to_id);
  execute format('alter table entry attach partition entry_%s for values from (%s) to (%s)', stretch, from_id, to_id);
end $$;

-- Takes rows of a stretch that is not attached over to another one.
create function move_rows(source text, target text, from_id uuid, to_id uuid) returns void language plpgsql as $$
declare
  relation text;
begin
  foreach relation in array array['operation', 'entry'] loop
    execute format('alter table %s_%s disable trigger append_only', relation, source);
    execute format('with gone as (delete from %1$s_%2$s where operation >= $1 and operation < $2 returning *) insert into %1$s_%3$s select * from gone',
      relation, source, target) using from_id, to_id;
    execute format('alter table %s_%s enable trigger append_only', relation, source);
  end loop;
end $$;

-- The first id of `*_ahead`.
create function ahead_from() returns uuid language sql stable as
$$ select substring(pg_get_expr(relpartbound, oid) from '\(''([0-9a-f-]{36})''\)')::uuid from pg_class where oid = 'operation_ahead'::regclass $$;

-- Adds months until `months` whole ones lie ahead; answers how many it added. What stands in `*_ahead` moves into its month.
-- It needs both tables alone for some milliseconds; when somebody reads them for longer it gives up (55P03), and comes back.
create function extend_ledger(months integer default 3) returns integer language plpgsql set lock_timeout = '500ms' as $$
declare
  until_month timestamp := date_trunc('month', now() at time zone 'UTC') + make_interval(months => months + 1);
  month timestamp;
  next_id uuid;
  added integer := 0;
begin
  loop
    month := to_timestamp(id_ms(ahead_from()) / 1000.0) at time zone 'UTC';
    exit when month >= until_month or added >= 120;
    lock table operation, entry in access exclusive mode;
    -- Another process was faster.
    continue when month <> to_timestamp(id_ms(ahead_from()) / 1000.0) at time zone 'UTC';
    next_id := first_id_of((month + interval '1 month') at time zone 'UTC');
    alter table operation detach partition operation_ahead;
    alter table entry detach partition entry_ahead;
    perform create_stretch(to_char(month, 'YYYY_MM'));
    perform move_rows('ahead', to_char(month, 'YYYY_MM'), first_id_of(month at time zone 'UTC'), next_id);
    perform attach_stretch(to_char(month, 'YYYY_MM'), quote_literal(first_id_of(month at time zone 'UTC')), quote_literal(next_id));
    perform attach_stretch('ahead', quote_literal(next_id), 'maxvalue');
    added := added + 1;
  end loop;
  return added;
end $$;

select extend_ledger();

-- ── The writer's own state ──────────────────────────────────────────────────────────────────────────────────────────

-- The operation at the position, so that nobody looks for a number in every month; null at an opening record.
alter table position add column operation uuid;
update position p set operation = (select operation from operation o where o.shard = p.shard and o.epoch = p.epoch and o.seq = p.seq);
