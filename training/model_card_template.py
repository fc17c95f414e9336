# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The text of a model's card, a Jinja template; `training/model_card.py` fills it."""

BEGIN = "<!-- written by critic_gpt; what stands outside of these two comments is kept as it is -->"
END = "<!-- end of what critic_gpt writes -->"

TEMPLATE = (
    BEGIN
    + """

# {{ title }}

{{ summary }}

## How to use it

With the package installed:

```python
import critic_gpt
from transformers import pipeline

run = pipeline("{{ task }}", model="{{ repo }}")
{{ call }}
```

{% if not adapter -%}
Without the package, with the code that lies beside the weights; read it before you trust it:

```python
from transformers import pipeline

run = pipeline("{{ task }}", model="{{ repo }}", trust_remote_code=True)
{{ call }}
```

{% else -%}
This is an adapter: `peft` has to be installed, and the model below it is loaded with it.

{% endif -%}
## The model

| | |
|---|---|
{% for name, value in model_rows -%}
| {{ name }} | {{ value }} |
{% endfor %}
{% if training_rows -%}
## Training

| | |
|---|---|
{% for name, value in training_rows -%}
| {{ name }} | {{ value }} |
{% endfor %}
{% endif -%}
{% if bounds -%}
## Language model

The diffusion bound: an upper bound of the negative log-likelihood of held-out data.

| data | nats per token | bits per token |
|---|---|---|
{% for data, nats, bits in bounds -%}
| {{ data }} | {{ nats }} | {{ bits }} |
{% endfor %}
{% endif -%}
{% if tables -%}
## Calibration of the critic

How far P(wrong) is from the share of tokens that are wrong, before the table (plain sigmoid of the score) and by it.
ECE and Brier score: lower is better. AUROC, how well right and wrong tokens are told apart: higher is better.

| measured on | tokens | wrong | ECE before | ECE after | Brier before | Brier after | AUROC |
|---|---|---|---|---|---|---|---|
{% for row in tables -%}
| {{ row | join(" | ") }} |
{% endfor %}
{% endif -%}
{% for picture, words in pictures if picture == "reliability.png" -%}
![{{ words }}](figures/{{ picture }})

{% endfor -%}
{% for sampler in samplers -%}
## Samples: {{ sampler.figure }}

By forward passes of the trunk a sequence; every strategy takes as many steps as fit.

| strategy | {{ sampler.budgets | join(" | ") }} |
|---|{{ "---|" * sampler.budgets | length }}
{% for name, cells in sampler.rows -%}
| {{ name }} | {{ cells | join(" | ") }} |
{% endfor %}
{{ sampler.caption }}

{% endfor -%}
{% for picture, words in pictures if picture != "reliability.png" -%}
![{{ words }}](figures/{{ picture }})

{% endfor -%}
{% for animation in animations if animation.endswith(".gif") -%}
![A denoising, step by step; the colour is P(wrong)]({{ animation }})

{% endfor -%}
{% for animation in animations if animation.endswith(".html") -%}
[A denoising, step by step]({{ animation }}), as a page with a time line: download it and open it in a browser.

{% endfor -%}
{% if report -%}
[The whole report]({{ report }}), with samples coloured by P(wrong): download it and open it in a browser.

{% endif -%}
## Limits

{% for limit in limits -%}
- {{ limit }}
{% endfor %}
"""
    + END
    + "\n"
)
