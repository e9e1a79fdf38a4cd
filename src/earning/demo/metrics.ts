/** The largest value of a metric over all its labels in Prometheus text; undefined when it is not there. */
export function largestSample(text: string, metric: string): number | undefined {
  const values = text
    .split('\n')
    .filter((line) => line.startsWith(`${metric}{`) || line.startsWith(`${metric} `))
    .map((line) => Number(line.replace(/^[^{\s]+(?:\{.*\})?\s+/, '').split(' ')[0]))
    .filter((value) => !Number.isNaN(value));
  return values.length === 0 ? undefined : Math.max(...values);
}
