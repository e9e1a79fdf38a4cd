/** The OpenAPI document as a judge: every request and reply of the suite is held against it. */

import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';

interface Operation {
  readonly operationId: string;
  readonly parameters?: readonly {
    readonly in: string;
    readonly name: string;
    readonly required?: boolean;
  }[];
  readonly requestBody?: { readonly content: Readonly<Record<string, unknown>> };
  readonly responses: Readonly<Record<string, { readonly content?: Readonly<Record<string, unknown>> }>>;
}

export interface OpenApi {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}

export interface Contract {
  /** What a request has that the document does not allow; empty when all is well or the call is not in it. */
  requestFaults(method: string, url: string, body: unknown): string[];
  replyFaults(method: string, url: string, status: number, mediaType: string, body: unknown): string[];
  has(method: string, url: string): boolean;
  /** Calls that the document names, and those that were made, as `METHOD /path`. */
  readonly calls: readonly string[];
  readonly made: ReadonlySet<string>;
}

interface Place {
  readonly template: string;
  readonly pattern: RegExp;
}

function placesOf(document: OpenApi): Place[] {
  return Object.keys(document.paths)
    .toSorted((a, b) => Number(a.includes('{')) - Number(b.includes('{')))
    .map((template) => ({
      template,
      pattern: new RegExp(`^${template.replaceAll(/\{[^}]+\}/g, '[^/]+')}$`),
    }));
}

function pointer(...parts: string[]): string {
  return parts.map((part) => `/${part.replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
}

/** Compiles an OpenAPI 3.1 document, call by call, when it is first asked. */
export function contractOf(document: OpenApi): Contract {
  const ajv = new Ajv2020({ strict: false, allErrors: true, validateFormats: true });
  addFormats.default(ajv);
  ajv.addSchema(document, 'openapi');
  const places = placesOf(document);
  const compiled = new Map<string, ValidateFunction>();
  const made = new Set<string>();

  function placeOf(url: string): string | undefined {
    const path = url.split('?')[0]!;
    return places.find(({ pattern }) => pattern.test(path))?.template;
  }
  function operationOf(method: string, url: string): { template: string; operation: Operation } | undefined {
    const template = placeOf(url);
    const operation = template && document.paths[template]?.[method.toLowerCase()];
    return template && operation ? { template, operation } : undefined;
  }
  function faultsAt(at: string, value: unknown): string[] {
    const validate = compiled.get(at) ?? ajv.compile({ $ref: `openapi#${encodeURI(at)}` });
    compiled.set(at, validate);
    if (validate(value)) return [];
    return (validate.errors ?? []).map(
      (error) => `${error.instancePath || '/'} ${error.message ?? ''} ${JSON.stringify(error.params)}`,
    );
  }

  return {
    calls: Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    ),
    made,
    has: (method, url) => operationOf(method, url) !== undefined,
    requestFaults(method, url, body) {
      const found = operationOf(method, url);
      if (!found) return [];
      const { template, operation } = found;
      const allowed = new Set(operation.parameters?.filter((p) => p.in === 'query').map((p) => p.name));
      const query = new URLSearchParams(url.split('?')[1] ?? '');
      const faults = [...query.keys()]
        .filter((name) => !allowed.has(name))
        .map((name) => `query ${name} is not described`);
      if (operation.requestBody === undefined)
        return body === undefined ? faults : [...faults, 'a body is not described'];
      // Of bytes of another type the document says no more.
      if (!operation.requestBody.content['application/json']) return faults;
      const at = pointer(
        'paths',
        template,
        method.toLowerCase(),
        'requestBody',
        'content',
        'application/json',
        'schema',
      );
      return [...faults, ...faultsAt(at, body)];
    },
    replyFaults(method, url, status, mediaType, body) {
      const found = operationOf(method, url);
      if (!found) return status >= 400 ? faultsAt('/components/schemas/Problem', body) : [];
      const { template, operation } = found;
      made.add(`${method} ${template}`);
      const response = operation.responses[String(status)];
      if (!response)
        return [
          `status ${status} is not described for ${method} ${template}: ${JSON.stringify(body).slice(0, 500)}`,
        ];
      if (!response.content?.[mediaType]) return [`media type ${mediaType} is not described`];
      const at = pointer(
        'paths',
        template,
        method.toLowerCase(),
        'responses',
        String(status),
        'content',
        mediaType,
        'schema',
      );
      return faultsAt(at, body);
    },
  };
}
