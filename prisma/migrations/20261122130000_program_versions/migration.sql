-- What is configured of a program, by versions: each in force from its own time on, none ever changed.
-- Safe while older code runs: it goes on reading `program.definition`, which new versions bring up to date as far as it can
-- say what they do. Rules that it cannot say are left out there, so apply no new version while an upgrade is under way.

create table program_version (
  program integer not null references program,
  version integer not null check (version >= 1),
  -- In the program's own time. -infinity for the first, so that whatever occurred before is judged by it.
  effective_from timestamptz not null,
  -- The file with its defaults, and the numbers that stand for its names (src/earning/file/definition.ts).
  definition json not null,
  -- What a person wrote, with comments, byte for byte, and its sha256 in hex.
  source text not null,
  digest text not null,
  applied_at timestamptz not null default now(),
  applied_by text not null,
  primary key (program, version)
);
select make_append_only('program_version');

-- The program's row is locked by whoever applies a version, so no two look at once.
create function check_version_order() returns trigger language plpgsql as $$
begin
  if exists (select 1 from program_version v where v.program = new.program
             and (v.version >= new.version or v.effective_from > new.effective_from)) then
    raise exception 'version % of program % would stand before one that is there', new.version, new.program
      using errcode = 'check_violation';
  end if;
  return new;
end $$;
create trigger in_order before insert on program_version for each row execute function check_version_order();

-- ── What is there becomes the first version, with its source as a person would have written it ─────────────────────────

insert into program_version (program, version, effective_from, definition, source, digest, applied_by)
select p.number, coalesce((d ->> 'version')::integer, 1), '-infinity', file.definition, file.source,
  encode(sha256(convert_to(file.source, 'UTF8')), 'hex'), 'migration'
from program p
cross join lateral (select p.definition as d) old
cross join lateral (
  select json_agg(json_strip_nulls(json_build_object('code', c ->> 'code', 'spendable', c -> 'spendable')) order by n) as list,
    json_object_agg(c ->> 'code', c -> 'number') as numbers,
    string_agg(format('  - { code: %s%s }', c -> 'code', case when c ->> 'spendable' = 'false' then ', spendable: false' end),
      E'\n' order by n) as source
  from json_array_elements(d -> 'currencies') with ordinality each (c, n)
) currency
cross join lateral (
  select json_object_agg(name, number) as numbers
  from (select name, min(n) - 1 as number
        from json_array_elements_text(coalesce(d -> 'funders', '["program"]')) with ordinality each (name, n) group by name) given
) funder
cross join lateral (
  select coalesce(json_agg(json_strip_nulls(json_build_object(
      'name', r ->> 'name', 'currency', r ->> 'currency', 'funder', r ->> 'funder',
      'earn', json_build_object('by', 'amount', 'points', r -> 'points', 'perMinorUnits', r -> 'perMinorUnits',
        'each', 'receipt', 'steps', 'whole'),
      'rounding', 'floor', 'returns', 'reevaluate',
      'pending', case when (r ->> 'pendingDays')::integer > 0
        then json_build_object('kind', 'days', 'days', r -> 'pendingDays') end,
      'expiry', case when r ->> 'expiresAfterDays' is not null
        then json_build_object('kind', 'days', 'days', r -> 'expiresAfterDays') end)) order by n), '[]') as list,
    coalesce(E'\n' || string_agg(concat_ws(E'\n    ',
      format('  - name: %s', r -> 'name'),
      format('currency: %s', r -> 'currency'),
      format('earn: { by: amount, points: %s, perMinorUnits: %s }', r -> 'points', r -> 'perMinorUnits'),
      case when (r ->> 'pendingDays')::integer > 0 then format('pending: { kind: days, days: %s }', r -> 'pendingDays') end,
      case when r ->> 'expiresAfterDays' is not null
        then format('expiry: { kind: days, days: %s }', r -> 'expiresAfterDays') end,
      case when r ->> 'funder' is not null then format('funder: %s', r -> 'funder') end), E'\n' order by n), ' []') as source
  from json_array_elements(coalesce(d -> 'rules', '[]')) with ordinality each (r, n)
) rule
cross join lateral (
  select json_strip_nulls(json_build_object(
      'timeZone', p.time_zone, 'currencies', currency.list, 'funders', d -> 'funders',
      'identifierTypes', d -> 'identifierTypes', 'moneyCurrencies', d -> 'moneyCurrencies', 'debtAllowed', d -> 'debtAllowed',
      'backdateDaysMax', d -> 'backdateDaysMax', 'rules', rule.list,
      'numbers', json_build_object('currencies', currency.numbers, 'funders', funder.numbers,
        'counters', '{}'::json, 'budgets', '{}'::json))) as definition,
    concat_ws(E'\n',
      '# Converted from what was configured before programs had files.',
      format('timeZone: %s', to_json(p.time_zone)),
      E'currencies:\n' || currency.source,
      case when d ->> 'funders' is not null then format('funders: %s', d -> 'funders') end,
      case when d ->> 'identifierTypes' is not null then format('identifierTypes: %s', d -> 'identifierTypes') end,
      case when d ->> 'moneyCurrencies' is not null then format('moneyCurrencies: %s', d -> 'moneyCurrencies') end,
      format('debtAllowed: %s', coalesce(d ->> 'debtAllowed', 'true')),
      case when d ->> 'backdateDaysMax' is not null then format('backdateDaysMax: %s', d -> 'backdateDaysMax') end,
      'rules:' || rule.source, '') as source
) file
where currency.list is not null;

insert into compatible_migration (migration) values ('20261122130000_program_versions');
