#!/usr/bin/perl

# Why: admin/openapi.json is what others write their programs by.  It is a
# right document of its kind, it has all that the API has and nothing else,
# and the comparison of all answers with it, in all tests, finds what differs.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use JSON::PP ();

use Lockbox::Jose ();
use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Contract qw($DOCUMENT answered faults verdict);

my $TOP = abs_path(dirname(__FILE__) . '/..');
my $SCHEMAS = "$TOP/build/openapi-3.1";
my $DECISIONS = "$TOP/ngx_lockbox_module/ngx_lockbox_decision.c";
my $ROUTES = "$TOP/admin/ngx_http_lockbox_admin_routes.c";
my $NOBODYS = Test::Lockbox::Conf::uuid7();

my $json = JSON::PP->new->utf8->canonical;
my $text = Lockbox::Jose::slurp($DOCUMENT);
my $document = $json->decode($text);

my $t = Test::Lockbox->new;

by_the_standard();
by_itself();
words();
routes();

begin($t);

served();
methods();
answers();
accepted();
whole_tests();

done_testing();


# The faults of the document, with something in its text replaced.
sub faults_of {
    my ($what, $from, $to, @arguments) = @_;

    my $changed = $text =~ s/$from/$to/r;
    $changed ne $text or die "there is no $from\n";

    local $Test::Lockbox::Contract::DOCUMENT
        = $t->write_file('changed.json', $changed);

    return join "\n", verdict($what, @arguments);
}

sub by_the_standard {
    -d $SCHEMAS || !system("$TOP/.ci/openapi-schemas", $SCHEMAS)
        or return fail('the schemas of the standard can be had');

    is(join("\n", verdict('standard', $SCHEMAS)), '',
       'the schemas of OpenAPI 3.1 have nothing against it');

    for ([ 'a version', qr/"openapi": "3.1.0"/, '"openapi": "3.0.3"',
           qr/openapi: '3.0.3' does not match/ ],
         [ 'a member', qr/"operationId"/, '"operationID"', qr/operationID/ ],
         [ 'a place', qr/"in": "query"/, '"in": "body"', qr/body/ ],
         [ 'a schema', qr/"minimum": 60/, '"minimum": "60"', qr/'60'/ ],
         [ 'a type', qr/"type": "integer"/, '"type": "int"', qr/'int'/ ])
    {
        my ($name, $from, $to, $said) = @$_;

        like(faults_of('standard', $from, $to, $SCHEMAS), $said,
             "but for $name that is wrong");
    }
}

sub by_itself {
    is(join("\n", verdict('itself')), '', 'it holds together');

    for ([ 'a reference', qr{schemas/Person"}, 'schemas/Persons"',
           qr/Unresolvable/ ],
         [ 'a schema that nothing refers to', qr/"AccessItem": /,
           '"Spare": {}, "AccessItem": ', qr/refers to the Spare/ ],
         [ 'an example', qr/"state": "awaiting_manager"/,
           '"state": "waiting"', qr/example .*\/state: 'waiting'/ ],
         [ 'a keyword', qr/"maxItems"/, '"maxitems"', qr/maxitems/ ],
         [ 'a format', qr/"format": "uuid"/, '"format": "uid"', qr/uid/ ])
    {
        my ($name, $from, $to, $said) = @$_;

        like(faults_of('itself', $from, $to), $said, "but for $name");
    }
}


# Lists of texts, to be compared.
sub lines {
    return join "\n", sort @_;
}

# The closed list, with status, title and what to do, and where they are said.
sub words {
    my @words = @{ $document->{components}{schemas}{Word}{oneOf} };
    my %status = map { $_->{const} => $_->{description} =~ /^(\d+)\. /
                                      ? $1 : 'none' } @words;
    my @refusals = map {
        my ($status) = /^ngx_lockbox_row\(\w+, "\w+", (\d+)/;
        my ($word, $title, @detail) = /"([^"]*)"/g;
        $status ? "$word, $title: $status. " . join '', @detail : ();
    } split /(?=ngx_lockbox_row\()/, Lockbox::Jose::slurp($DECISIONS);

    is(lines(map { "$_->{const}, $_->{title}: $_->{description}" } @words),
       lines(@refusals), 'it has all words of the closed list');

    my %said;

    for my $name (sort keys %{ $document->{components}{responses} }) {
        my $content = $document->{components}{responses}{$name}{content};
        my $members = $content->{'application/problem+json'}{schema}
                      {properties} or next;

        for my $word (@{ $members->{code}{enum} }) {
            $said{$word} = 1;
            is($status{$word}, $members->{status}{const},
               "$name: $word has its status");
        }
    }

    my $gate = $document->{components}{schemas}{GateProblem}{properties};

    is(lines(grep { !$said{$_} } keys %status),
       lines(grep { !$said{$_} } @{ $gate->{code}{enum} }),
       'each is answered somewhere');
}


# The table of calls, with who may and what has to come with them.
sub routes {
    my @routes = Lockbox::Jose::slurp($ROUTES) =~ m!
        \{ \s NGX_HTTP_(\w+), \s "([^"]+)", \s+ ngx_string\("\w+"\), \s+
        NGX_HTTP_LOCKBOX_BODY_(\w+), \s (\d), !gx;
    my @described;

    while (my ($path, $item) = each %{ $document->{paths} }) {
        for my $method (grep { $_ ne 'parameters' } keys %$item) {
            my $operation = $item->{$method};
            my $body = $operation->{requestBody};

            push @described, join ' ', uc $method, $path,
                !$body ? 'NONE' : $body->{required} ? 'REQUIRED' : 'OPTIONAL',
                $operation->{security} ? 1 : 0;
        }
    }

    my @table;

    while (my ($method, $pattern, $body, $public) = splice @routes, 0, 4) {
        my $path = $pattern =~ s/\{t\}/{tenant}/r;
        push @table, "$method /$path $body $public";
    }

    is(lines(@described), lines(@table), 'it has all calls, and no other');
}


sub served {
    records();

    my $response = $t->http('GET', '/lockbox/v1/openapi.json');

    is($response->status, 200, 'it is there for everybody');
    is($response->header('content-type'), 'application/json', '... as JSON');
    is($response->header('cache-control'), 'no-store', '... not to be kept');
    ok($response->body eq $text, '... byte for byte');

    my $head = $t->http('HEAD', '/lockbox/v1/openapi.json');

    is($head->header('content-length'), length $text, '... and so long');
    is_deeply([ records() ], [], '... which nobody writes down');
    is(outcome($t->http('POST', '/lockbox/v1/openapi.json')),
       '405 method_not_allowed', '... but it cannot be written');
}

# What nginx allows, for each path of the document.
sub methods {
    for my $path (sort keys %{ $document->{paths} }) {
        my $uri = '/lockbox' . $path =~ s/\{tenant\}/acme/r
                                     =~ s/\{id\}/$NOBODYS/r;
        my @methods = map { $_ eq 'get' ? qw(GET HEAD) : uc }
                      grep { $_ ne 'parameters' }
                      sort keys %{ $document->{paths}{$path} };

        for my $method (qw(PROPFIND PATCH)) {
            is($t->http($method, $uri)->header('allow'), join(', ', @methods),
               "$method $path allows what is described");
        }
    }
}


# Real answers, and what is found when something in them is changed.
sub answers {
    my $id = file();
    my $approved = approved();
    my $missing = sub { delete $_[0]{headers}{ $_[1] } };
    my $header = sub { $_[0]{headers}{ $_[1] } = $_[2] };
    my $body = sub {
        my ($answer, $change) = @_;
        my $value = $json->decode($answer->{body});
        $change->($value);
        $answer->{body} = $json->encode($value);
    };

    my @answers = (
        [ 'a request', sub { ask('manager', 'GET', uri($id)) },
          [ 'another status', sub { $_[0]{status} = 202 },
            qr/status is none of 200, 400, 401, 404, 503/ ],
          [ 'another one\'s status', sub { $_[0]{status} = 401 },
            qr/header www-authenticate is missing/ ],
          [ 'no Cache-Control', sub { $missing->(@_, 'cache-control') },
            qr/header cache-control is missing/ ],
          [ 'another Cache-Control',
            sub { $header->(@_, 'cache-control', 'private') },
            qr/header cache-control, .*'no-store' was expected/ ],
          [ 'a header of other answers',
            sub { $header->(@_, 'location', '/') },
            qr/header location is not described/ ],
          [ 'HTML', sub { $header->(@_, 'content-type', 'text/html') },
            qr{'text/html' is none of application/json} ],
          [ 'half a body', sub { chop $_[0]{body}; chop $_[0]{body} },
            qr/body is no JSON/ ],
          [ 'a member twice', sub { $_[0]{body} =~ s/\{/{"id":1,/ },
            qr/body is no JSON, a name is there twice/ ],
          [ 'no member', sub { $body->(@_, sub { delete $_[0]{reason} }) },
            qr/'reason' is a required property/ ],
          [ 'a member too many', sub { $body->(@_, sub { $_[0]{x} = 1 }) },
            qr/'x' was unexpected/ ],
          [ 'no time', sub { $body->(@_, sub {
                $_[0]{created_at} = '2026-02-30T00:00:00.000Z' }) },
            qr/created_at: .*is not a 'date-time'/ ],
          [ 'another time of day', sub { $body->(@_, sub {
                $_[0]{created_at} =~ s/\.\d+//r }) } ],
          [ 'a text for a number',
            sub { $body->(@_, sub { $_[0]{version} = '1' }) },
            qr{/version: '1' is not of type 'integer'} ],
          [ 'a line feed behind a pattern\'s end',
            sub { $body->(@_, sub { $_[0]{tenant} = "acme\n" }) },
            qr{/tenant: 'acme\\n' does not match} ],
          [ 'an end that has not come',
            sub { $body->(@_, sub { $_[0]{ended_at} = $_[0]{created_at} }) },
            qr{/ended_at: .* is not of type 'null'} ] ],

        [ 'a list', sub { ask('manager', 'GET', "$REQUESTS?limit=1") },
          [ 'something in an entry', sub { $body->(@_, sub {
                $_[0]{requests}[0]{actions} = [ 'open' ] }) },
            qr{/requests/0/actions/0: 'open' is not one of} ],
          [ 'a parameter that is not described',
            sub { $_[0]{request}{uri} .= '&sort=up' }, qr/parameter sort/ ],
          [ 'one out of its bounds',
            sub { $_[0]{request}{uri} .= '01' },
            qr/limit: .*101 is greater/ ] ],

        [ 'a refusal', sub { ask('nobody', 'GET', uri($id)) },
          [ 'another word', sub { $_[0]{body} =~ s/no_token"/denied"/g },
            qr{/code: 'denied'} ],
          [ 'a word of other calls',
            sub { $_[0]{body} =~ s/no_token/own_request/g },
            qr{/code: 'own_request' is not one of} ],
          [ 'another status in the body',
            sub { $_[0]{body} =~ s/401/400/ }, qr{/status: 401 was} ],
          [ 'no challenge', sub { $missing->(@_, 'www-authenticate') },
            qr/header www-authenticate is missing/ ],
          [ 'JSON for a problem',
            sub { $header->(@_, 'content-type', 'application/json') },
            qr{'application/json' is none of application/problem\+json} ] ],

        [ 'nothing', sub { ask('manager', 'GET', uri($NOBODYS) . '/../x') },
          [ 'something', sub { $_[0]{status} = 200 }, qr/none of 404/ ] ],

        [ 'a wrong method', sub { ask('manager', 'PUT', uri($id)) },
          [ 'no Allow', sub { $missing->(@_, 'allow') },
            qr/header allow is missing/ ] ],

        [ 'a head', sub { ask('manager', 'HEAD', uri($id)) },
          [ 'a body', sub { $_[0]{body} = '{}' }, qr/HEAD has a body/ ] ],

        [ 'a refusal by the gate', sub { knock(collect($approved), 'PUT') },
          [ 'another status in the body',
            sub { $_[0]{body} =~ s/403/401/ }, qr{/status: 403 was} ],
          [ 'a word of the API',
            sub { $_[0]{body} =~ s/wrong_method"/own_request"/g },
            qr{/code: 'own_request' is not one of} ],
          [ 'half of the help',
            sub { $body->(@_, sub { delete $_[0]{asked} }) },
            qr/'asked' is a dependency/ ] ],
    );

    for (@answers) {
        my ($name, $call, @changes) = @$_;
        my $response = $call->();

        is(join("\n", faults()), '', "$name is as described");

        for (@changes) {
            my ($what, $change, $said) = @$_;
            my %changed = (%$response, headers => { %{ $response->headers } },
                           request => { %{ $response->{request} } });

            $change->(\%changed);
            answered($changed{request}, bless \%changed, ref $response);

            if ($said) {
                like(join("\n", faults()), $said, "... not with $what");
            } else {
                is(join("\n", faults()), '', "... and with $what");
            }
        }
    }
}

# What was accepted must be what the document says of requests.
sub accepted {
    my $response = ask('engineer', 'POST', $REQUESTS, json => filing());

    for ([ 'what was sent', {}, undef ],
         [ 'a member too many', { colour => 1 }, qr/took a body .*'colour'/ ],
         [ 'a short justification', { justification => 'No reason' },
           qr{took a body /justification: 'No reason' is too short} ],
         [ 'no access', { access => [] }, qr{took a body /access: } ],
         [ 'dots in a path', { access => [ {
                service => 'mail', methods => ['GET'], paths => ['/a/../b'],
            } ] }, qr{took a body /access/0/paths/0: '/a/../b'} ])
    {
        my ($name, $changes, $said) = @$_;
        my $sent = $json->encode(filing(%$changes));

        faults();
        answered({ method => 'POST', uri => $REQUESTS, sent => $sent },
                 bless { %$response, reason => $name }, ref $response);

        if ($said) {
            like(join("\n", faults()), $said, "$name would be noticed");
        } else {
            is(join("\n", faults()), '', "$name is as described");
        }
    }

    answered({ method => 'POST', uri => $REQUESTS, sent => '' }, $response);
    like(join("\n", faults()), qr/took no body/,
         'nothing at all would be noticed');
}


# A whole test, with the document and with one that lacks something.
sub whole_tests {
    my $test = $t->write_file('some.t', <<'EOF_TEST');
use Test::Lockbox;
use Test::Lockbox::Admin;

$Test::Lockbox::Contract::DOCUMENT = shift;
begin(Test::Lockbox->new);
is(ask('nobody', 'GET', '/lockbox/v1/whoami')->status, 401, 'a refusal');
done_testing();
EOF_TEST

    my $run = sub {
        my ($file) = @_;
        my $output = `$^X -I$TOP/t/lib $test $file 2>&1`;
        return ($? >> 8, $output);
    };

    my ($exit, $output) = $run->($DOCUMENT);

    is($exit, 0, 'a test passes') or diag($output);
    like($output, qr/^ok \d+ - all answers are as /m, '... and says why');

    my $lacks = $t->write_file('lacks.json',
                               $text =~ s/"401": (?=\{[^}]*Unauth)/"402": /r);

    ($exit, $output) = $run->($lacks);

    isnt($exit, 0, 'it fails when an answer is not described');
    like($output, qr{line\ 6:\ GET\ /lockbox/v1/whoami,\ 401:\ the\ status
                     \ is\ none\ of\ 200,\ 400,\ 402,\ 503}x,
         '... and says which, and where');
}
