"""Texts around a secret in every form that is masked, and texts that hold none."""

import string

from hypothesis import strategies as st

ALPHABET = string.ascii_letters + string.digits
# Begins so that no draw is a number, a word or a placeholder.
literals = st.text(ALPHABET + "-_", min_size=9, max_size=40).map(lambda text: f"q7Z{text}k9X")
names = st.sampled_from(
    [
        "HF_TOKEN",
        "NGC_KEY",
        "NGC_CLI_API_KEY",
        "WANDB_API_KEY",
        "AWS_SECRET_ACCESS_KEY",
        "db_password",
        "hf_token",
        "OPENAI_API_KEY",
        "MYSQL_PASSWORD",
        "client_secret",
        "secret_key",
        "api-key",
        "JUDGE_KEY",
        "DB_PASS",
        "GITLAB_PAT",
    ]
)
YAML_NAMES = ("hf_token", "password", "NGC_KEY", "api_key", "client_secret")
# {name} is a secret's name, {secret} its value, {a} and {b} two pieces of it.
ONE_LINE = (
    "{name}={secret}",
    "export {name}={secret}",
    "{name}='{secret}' python train.py",
    '{name}="{secret}"',
    "{name}: {secret}",
    '"{name}": "{secret}", "epoch": 3',
    "{{'{name}': '{secret}'}}",
    "{name} = {secret}",
    "docker run -e {name}={secret} image",
    "docker run -e {name}='${secret}' image",
    "{name}='${secret}!'",
    "sbatch --export=ALL,{name}={secret} job.sh",
    '{name}="{a}""{b}"',
    "{name}='{a}'\"{b}\"",
    '{name} = "{a}" + "{b}"',
    '{name}={a}"{b}" python train.py',
    "export {name}=${{{name}:-{secret}}}",
    '{{\\"{name}\\": \\"{secret}\\"}}',
    '{{"name": "{name}", "value": "{secret}"}}',
    "- {{name: {name}, value: {secret}}}",
    "- {{value: {secret}, name: {name}}}",
    'os.environ["{name}"] = "{secret}"',
    "failed ({name}={secret}) in step 3",
    '{{"message": "bad {name}: {secret}", "loss": 0.5}}',
)
FLAGGED = (
    "docker login -u me -p {secret}",
    "docker login -u me -p{secret} nvcr.io",
    "docker login -u '$oauthtoken' -p '{secret}'",
    'podman login nvcr.io -p "{secret}"',
    "helm registry login host -u me -p {secret}",
    "docker login --password {secret}",
    '["docker", "login", "-u", "me", "-p", "{secret}"]',
    '["--token", "{secret}"]',
    "['--password', '{secret}']",
    "args: [serve, --api-key, x, '--hf-token', '{secret}']",
    "hf auth login --token {secret}",
    "serve --api-key={secret}",
    "https://me:{secret}@host/x",
    "s3://AKIA:{secret}@bucket/x",
    "https_proxy=http://me:{secret}@proxy:3128",
    "proxy=me:{secret}@proxy:3128",
    "curl -u me:{secret} https://host",
    "Authorization: Bearer {secret}",
    "X-Api-Key: {secret}",
    "GET /v1?access_token={secret}&page=2",
    "?X-Amz-Signature={secret}&x=1",
    "Incorrect API key provided: {secret}.",
    "nvapi-{secret}",
    "the key nvapi-{secret} was refused",
    "<password>{secret}</password>",
    "Set-Cookie: session={secret}",
)
SEVERAL_LINES = (
    "{yaml}: |\n  {secret}\nnext: 1",
    "a:\n  {yaml}: >-\n    {a}\n    {b}\n  next: 1",
    "- {yaml}: |2-\n      {secret}\n",
    "env:\n- name: {name}\n  value: {secret}\n- name: NEXT\n  value: keep",
    '{{"name": "{name}",\n "value": "{secret}"}}',
    "- name: {name}\n  value: |\n    {secret}\n- name: NEXT",
    "export {name}=\\\n{secret}",
    "{name}={a}\\\n{b} image",
    "docker login \\\n  -u me \\\n  -p {secret} \\\n  nvcr.io",
    "serve --token \\\n  {secret} \\\n  --port 80",
    "args:\n  - --token\n  - {secret}\n  - --port\n",
    '["serve",\n  "--api-key",\n  "{secret}"\n]',
    '{yaml}:\n  "{secret}"',
    "-----BEGIN RSA PRIVATE KEY-----\n{secret}\n-----END RSA PRIVATE KEY-----",
)
CLEAN = (
    'AWS_ACCESS_KEY_ID="$ACCESS_KEY" AWS_SECRET_ACCESS_KEY="$SECRET_KEY" aws s3 ls',
    "docker run -e HF_TOKEN -e NGC_KEY img",
    'export SECRET_KEY="$SECRET_KEY"',
    "NGC_KEY= docker run img",
    "docker run -d -p 8080:8080 -p 9090:90 image serve",
    "docker login nvcr.io -u '$oauthtoken' --password-stdin",
    'hf auth login --token "$HF_TOKEN"',
    "HF_TOKEN='$HF_TOKEN'",
    "docker login -u me && docker run -p 8080:80 image",
    "ssh login01 -p 2222 squeue",
    "password: ${DB_PASSWORD}",
    "env:\n- name: A_KEY\n  valueFrom:\n    secretKeyRef:\n      name: tao-credentials-1\n      key: secret-key\n",
    "- name: NGC_KEY\n  value: $(NGC_API_TOKEN)\n",
    "token: ${{ secrets.HF_TOKEN }}",
    "secret: {secretName: my-secret-name}",
    "docker run --gpus all \\\n  -e NGC_KEY \\\n  -v /data:/data image\n",
    "password:\n  from_file: /run/secrets/password",
    "curl -u $USER:$TOKEN https://host",
    "https://$USER:$TOKEN@host/x",
    "export HF_TOKEN=$(cat /run/secrets/token_file)",
    "name the Secret: --option secret=NAME",
    "fix: --option secret=tao-credentials-1 --option image_pull_secret=regcred",
    "    token = settings.secret(name)",
    "TOKENIZERS_PARALLELISM=false",
    "max_new_tokens=256",
    "skip_special_tokens=True",
    "num_tokens=10 tokenizer=fast",
    "step 10/200 loss 0.5132 lr 1e-05 12345.6 tokens/s 0.81 s/it",
    "pad_token_id: 151643, eos_token_id: 151645",
    "time per token: 12.34567ms",
    '{"step": 3, "tokens": 12345678, "token_accuracy": 0.99}',
    "tokens per second: 81234.55",
    '{"message": "no token:", "epoch_loss_value": 0.5}',
    "caption_key: description_of_clip",
    "token ids: [151643, 151644]",
    "gpu_spec_key: policy.parallelism.dp_shard_size",
    "the token is invalid, the key is missing",
    "tokens: 81,234,567",
    "use --token TEXT or --password TEXT",
    "judge.api_key_variable: OPENAI_API_KEY",
    "eos_token: '<|im_end|>'",
    "git@github.com:organization/repository.git",
    "Saving tokenizer files to /results/checkpoints/epoch_1",
    "http://127.0.0.1:8000/v1@x",
    "image_token: <image_placeholder>",
    "name: token-budget\nvalue: 1234567890\n",
)
filler = st.sampled_from(
    [
        "",
        "step 10 loss 0.5 tokens/s 8123.4",
        "epoch 3 | eta 0:12:31 | memory 31.2 GiB",
        "Traceback (most recent call last):",
        '  File "train.py", line 3, in main',
        "    raise ValueError(text)",
        "reading s3://bucket/train/annotations.json",
    ]
)


def planted(template: str, secret: str, name: str = "HF_TOKEN", yaml_name: str = "password") -> str:
    """Return a form with the secret in its place."""
    middle = len(secret) // 2
    return template.format(name=name, secret=secret, a=secret[:middle], b=secret[middle:], yaml=yaml_name)


def leaks(text: str, secret: str) -> bool:
    """Return whether a text shows the secret or half of it."""
    middle = len(secret) // 2
    return any(part in text for part in (secret[:middle], secret[middle:]))
