// /openapi.json as a page: routes, fields, answers.

const make = (tag, text, name) => {
  const node = document.createElement(tag);
  if (text) node.textContent = text;
  if (name) node.className = name;
  return node;
};

function fieldsOf({parameters = [], requestBody}) {
  const rows = parameters.map((x) => [x.name, x.in, x.required, x.schema, x.description]);
  const content = Object.values(requestBody?.content || {});
  for (const {schema} of content) {
    for (const [name, field] of Object.entries(schema.properties || {})) {
      const where = field.format === 'binary' ? 'file' : 'text';
      const needed = (schema.required || []).includes(name);
      rows.push([name, where, needed, field, field.description]);
    }
  }
  return rows;
}

function table(rows) {
  const whole = make('table');
  const head = make('tr');
  for (const title of ['field', 'kind', 'about']) {
    const cell = make('th', title);
    cell.scope = 'col';
    head.append(cell);
  }
  whole.append(head);
  for (const [name, where, needed, schema = {}, description = ''] of rows) {
    const row = make('tr');
    const limits = schema.enum ? schema.enum.join(', ')
      : schema.maximum !== undefined ? `${schema.minimum} to ${schema.maximum}` : '';
    row.append(
      make('td', needed ? `${name} (needed)` : name), make('td', where),
      make('td', [description, limits].filter(Boolean).join('; ')),
    );
    whole.append(row);
  }
  return whole;
}

function route(path, verb, operation) {
  const card = make('section', '', 'card');
  const title = make('h2');
  title.append(make('span', verb.toUpperCase(), 'verb'), make('code', path));
  card.append(title, make('p', operation.description || operation.summary));
  const rows = fieldsOf(operation);
  if (rows.length) card.append(table(rows));
  const kinds = Object.entries(operation.responses)
    .filter(([code]) => code.startsWith('2'))
    .flatMap(([, answer]) => Object.keys(answer.content || {}));
  if (kinds.length) card.append(make('p', `answers: ${kinds.join(', ')}`, 'small'));
  return card;
}

const schema = await (await fetch('openapi.json')).json();
document.querySelector('#version').textContent = `version ${schema.info.version}`;
document.querySelector('#about').textContent = schema.info.description;
document.querySelector('#example').textContent =
  'curl -F person=@me.jpg -F garment=@shirt.jpg \\\n'
  + `    ${new URL('try_on', location.href)} -o result.png`;
document.querySelector('#routes').append(
  ...Object.entries(schema.paths).flatMap(([path, verbs]) =>
    Object.entries(verbs).map(([verb, operation]) => route(path, verb, operation))),
);
