#!/usr/bin/perl

# Why: a request that nginx makes on behalf of another one is judged like any
# other, and what becomes of it cannot be dressed up as a success; nor does
# anything happen beside a request that is refused.

use strict;
use warnings;

use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Refusal;

my $t = Test::Lockbox->new;

# A gated location of that service, with those directives.
sub gated {
    my ($service, @more) = @_;

    return join "\n", "location /tenants/acme/$service/ {", 'lockbox on;',
        'lockbox_tenant acme;', "lockbox_service $service;", @more, "}\n";
}

my $upstream = 'proxy_pass http://127.0.0.1:%%PORT_8081%%;';

$t->redis;
$t->upstream(handler => \&answer);
$t->write_conf($t->conf(server => <<'EOF_SERVER', locations => join '',
    error_page 401 403 503 =200 /fine;
    recursive_error_pages on;
EOF_SERVER
    gated('mail', $upstream),
    gated('said', 'return 200 "the secret of what is said";'),
    gated('paged', 'error_page 401 403 = @fine;', $upstream),
    gated('mirroring', 'mirror /beside/x;', $upstream),
    gated('twice', 'mirror /tenants/acme/mail/x;', $upstream),
    gated('checked', 'auth_request /beside/x;', $upstream),
    gated('doubly', 'auth_request /tenants/acme/mail/x;', $upstream),
    gated('around', 'add_before_body /beside/x;',
          'add_after_body /tenants/acme/mail/x;', $upstream),
    gated('pages', 'ssi on;', $upstream),
    gated('sliced', 'slice 10;', 'proxy_set_header Range $slice_range;',
          $upstream),
    <<"EOF_LOCATIONS"));
location /check/ { auth_request /tenants/acme/mail/x; $upstream }
location /check/paged/ { auth_request /tenants/acme/paged/x; $upstream }
location /check/said/ { auth_request /tenants/acme/said/x; $upstream }
location /check/call/ { auth_request /lockbox/v1/whoami; $upstream }
location /mirroring/calls { mirror $REQUESTS; $upstream }
location /pages/ { ssi on; $upstream }
location /before/ { add_before_body /tenants/acme/mail/x; $upstream }
location /beside/ { $upstream }
location = /fine { return 200 "all is fine"; }
location \@fine { return 200 "all is fine"; }
location /lockbox/ { lockbox_admin on; }
EOF_LOCATIONS
$t->run;
use_world($t);

# A page whose query names what it includes, and how.
sub answer {
    my ($request) = @_;

    my $uri = $request->{uri};
    my %headers = ('Content-Type' => 'text/html');
    my ($page, $how, $what) = $uri =~ m{^(.*/pages/)\?(\w+)=(.*)};

    return [ 200, \%headers, included($how, $what) ] if $page;

    my $body = "(the secret of $uri)";
    my ($from, $to) = ($request->{headers}{range} // '') =~ /=(\d+)-(\d+)/
        or return [ 200, \%headers, $body ];

    my $part = substr $body, $from, $to - $from + 1;
    my $last = $from + length($part) - 1;
    $headers{'Content-Range'} = "bytes $from-$last/" . length $body;
    $headers{ETag} = '"a"';

    return [ 206, \%headers, $part ];
}

sub included {
    my ($how, $what) = @_;

    my $include = qq(<!--# include virtual="$what");

    return qq($include set="a" --><!--# echo var="a" encoding="none" -->)
        if $how eq 'set';
    return qq(<!--# block name="none" -->nothing<!--# endblock -->)
           . qq($include stub="none" -->) if $how eq 'stub';
    return qq($include wait="yes" -->) if $how eq 'wait';
    return qq($include -->) x 3 if $how eq 'thrice';
}

my %grant;

# A grant for the whole of those services.
sub grant {
    my (@services) = @_;

    return $grant{"@services"} //= $t->grant(life => 3600, access => [ map { {
        service => $_, methods => [ 'GET' ],
        paths => [ "/tenants/acme/$_/" ],
    } } @services ]);
}

my $seen = 0;

# The paths that have arrived since the last call, sorted.
sub arrived {
    my @requests = $t->upstream_requests;
    my @new = @requests[ $seen .. $#requests ];

    $seen = @requests;

    return [ sort map { $_->{uri} =~ s/\?.*//r } @new ];
}

# The answer to a request whose connection ends with it, undef for none; the
# audit records as "start path", "end path reason", sorted; and the paths that
# have arrived.
sub did {
    my ($uri, $token, %options) = @_;

    my $connection = $t->http_connect;
    $connection->request($options{method} // 'GET', $uri, token => $token,
                         %options);

    my $response = eval { $connection->response };
    $connection->read_all;

    return ($response, [ sort map {
        my $record = $_;
        join ' ', grep { defined }
                  @$record{qw(event.type url.path event.reason)};
    } records() ], arrived());
}

my $secret = '/tenants/acme/mail/x';


# What stands beside a gated location waits for its decision

for my $case (
    # what arrives with the grants for these services
    [ 'a mirror', 'mirroring', [ 'mirroring' ],
      '/beside/x' ],
    [ 'auth_request', 'checked', [ 'checked' ], '/beside/x' ],
    [ 'a mirror that is gated', 'twice', [ 'twice', 'mail' ], $secret ],
    [ 'auth_request that is gated', 'doubly', [ 'doubly', 'mail' ], $secret ],
    [ 'additions', 'around', [ 'around', 'mail' ], '/beside/x', $secret ],
) {
    my ($name, $service, $services, @beside) = @$case;
    my $uri = "/tenants/acme/$service/x";

    for my $try ([ 'no_token', undef ], [ 'wrong_service', grant('other') ]) {
        my ($word, $token) = @$try;
        my ($response, $records, $arrived) = did($uri, $token);

        refused($response, $word, $name,
                defined $token ? qw(asked granted request) : ());
        is_deeply($records, [ "end $uri $word" ], "$name, $word: on record");
        is_deeply($arrived, [], "$name, $word: nothing happens beside it");
    }

    my ($response, $records, $arrived) = did($uri, grant(@$services));

    let_through($response, "$name: allowed");
    like($response->body, qr/the secret of $uri/, "$name: the answer");
    is_deeply($arrived, [ sort $uri, @beside ], "$name: and what is beside");
    is_deeply($records, [ sort map { ("end $_ allow", "start $_") }
                               $uri, grep { $_ eq $secret } @beside ],
              "$name: on record");
}

# What is beside is judged for itself

my ($response, $records, $arrived) = did('/tenants/acme/twice/x',
                                         grant('twice'));
let_through($response, 'a mirror that is refused');
is_deeply($arrived, [ '/tenants/acme/twice/x' ], 'does not arrive');
is_deeply($records, [ "end $secret wrong_service",
                      'end /tenants/acme/twice/x allow',
                      'start /tenants/acme/twice/x' ], 'both are on record');

my $deleting = $t->grant(access => [
    { service => 'twice', methods => [ 'DELETE' ],
      paths => [ '/tenants/acme/twice/' ] },
    { service => 'mail', methods => [ 'GET' ],
      paths => [ '/tenants/acme/mail/' ] },
]);

($response, $records, $arrived) = did('/tenants/acme/twice/x', $deleting,
                                      method => 'DELETE');
let_through($response, 'a mirror of another method');
is_deeply($arrived, [ '/tenants/acme/twice/x' ], 'does not arrive');
is_deeply($records, [ "end $secret wrong_method",
                      'end /tenants/acme/twice/x allow',
                      'start /tenants/acme/twice/x' ], 'both are on record');

($response, $records, $arrived) = did('/tenants/acme/around/x',
                                      grant('around'));
unlike($response->body, qr/secret of $secret/, 'an addition that is refused');
like($response->body, qr{secret of /tenants/acme/around/x},
     'leaves the rest alone');
is_deeply($arrived, [ '/beside/x', '/tenants/acme/around/x' ],
          'does not arrive');
is_deeply($records, [ 'end /tenants/acme/around/x allow',
                      "end $secret wrong_service",
                      'start /tenants/acme/around/x' ],
          'both are on record');


# No page of nginx makes a success of a refusal

for my $case (
    [ 'auth_request', '/check/x', $secret, 'mail' ],
    [ 'auth_request with a page', '/check/paged/x', '/tenants/acme/paged/x',
      'paged' ],
) {
    my ($name, $uri, $judged, $service) = @$case;

    for my $try ([ 'no_token', undef ], [ 'wrong_service', grant('other') ]) {
        my ($word, $token) = @$try;
        my ($response, $records, $arrived) = did($uri, $token);

        unlike($response->body, qr/secret/, "$name, $word");
        is_deeply($records, [ "end $judged $word" ],
                  "$name, $word: on record");
        is_deeply($arrived, [], "$name, $word: nothing arrives");
    }

    my ($response, $records, $arrived) = did($uri, grant($service));

    like($response->body, qr/the secret of $uri/, "$name: allowed");
    is_deeply($records, [ "end $judged allow", "start $judged" ],
              "$name: on record");
    is_deeply($arrived, [ sort $uri, $judged ], "$name: arrives");
}

for my $token (undef, grant('said')) {
    my $connection = $t->http_connect;
    $connection->request('GET', '/check/said/x', token => $token);

    is($connection->read_all, '', 'auth_request of what is said: no answer');
    is_deeply([ map { join ' ', @$_{qw(event.reason
                                       http.response.status_code)} }
                records() ],
              [ 'internal_error 503' ], 'nor does it count as one');
    is_deeply(arrived(), [], 'nothing arrives');
}


# Pages that include, in every way there is

for my $page ('/pages/', '/tenants/acme/pages/') {
    my $own = $page =~ /tenants/ ? 'pages' : 'other';
    my @own = $own eq 'pages' ? ("end $page allow", "start $page") : ();

    for my $how (qw(set stub wait thrice)) {
        my $name = "P39 $how in $page";
        my $times = $how eq 'thrice' ? 3 : 1;
        my ($response, $records, $arrived)
            = did("$page?$how=$secret", grant($own));

        let_through($response, "$name: the page");
        unlike($response->body, qr/secret/, "$name: without it");
        is_deeply($records, [ sort @own,
                              ("end $secret wrong_service") x $times ],
                  "$name: on record");
        is_deeply($arrived, [ $page ], "$name: nothing else arrives");

        ($response, $records, $arrived)
            = did("$page?$how=$secret", grant($own, 'mail'));

        is(() = $response->body =~ /the secret of $secret\)/g, $times,
           "$name: with it");
        is_deeply($records, [ sort @own, ("end $secret allow",
                                          "start $secret") x $times ],
                  "$name: allowed, on record");
        is_deeply($arrived, [ sort $page, ($secret) x $times ],
                  "$name: all arrives");

        ($response, $records) = did("$page?$how=/tenants/acme/said/x",
                                    grant($own, 'said'));
        unlike($response ? $response->body : '', qr/secret/,
               "$name: what is said");
        # the first one ends the whole request
        is_deeply($records,
                  [ sort @own, 'end /tenants/acme/said/x internal_error' ],
                  "$name: what is said, on record");
    }
}


# A call of the admin API is made by whoever makes it, and by no page

my $whoami = '/lockbox/v1/whoami';
my $engineer = token_of('engineer');

for my $how (qw(set stub wait thrice)) {
    my ($response, $records, $arrived)
        = did("/pages/?$how=$whoami", $engineer);

    let_through($response, "a call, $how: the page");
    unlike($response->body, qr/erin/, "a call, $how: without its answer");
    is_deeply($records, [], "a call, $how: none is on record");
    is_deeply($arrived, [ '/pages/' ], "a call, $how: nothing else arrives");
}

($response, $records, $arrived) = did('/check/call/x', $engineer);
is($response->status, 500, 'auth_request of a call');
is_deeply($records, [], 'auth_request of a call: none is on record');
is_deeply($arrived, [], 'auth_request of a call: nothing arrives');

my %filing = (json => filing());
my $before = contents();

($response, $records, $arrived) = did('/mirroring/calls', $engineer,
                                      method => 'POST', %filing);
let_through($response, 'a mirror that is a call');
is_deeply($arrived, [ '/mirroring/calls' ], 'what it is a mirror of arrives');
is_deeply($records, [], '... and no call is on record');
is_deeply(contents(), $before, '... nor is anything filed');

($response, $records) = did($whoami, $engineer);
like($response->body, qr/erin/, 'a call as such: its answer');

my $filed = $t->http('POST', $REQUESTS, token => $engineer, %filing);
is($filed->status, 201, 'a filing as such');
ok(contents()->{ request_key($filed->json->{id}) }, '... is filed');
ok($t->wait_for(sub { grep { $_->{'event.type'} eq 'end' } records() },
                undef, 'its record'), '... and on record');


# Slices, as far as they are asked for

my $sliced = '/tenants/acme/sliced/x';
my $whole = "(the secret of $sliced)";

for my $case ([ 'all', undef, $whole ], [ 'some', 'bytes=0-14', 15 ],
              [ 'the middle', 'bytes=12-27', undef ])
{
    my ($name, $range) = @$case;
    my ($from, $to) = ($range // 'bytes=0-99') =~ /(\d+)-(\d+)/;
    my %headers = $range ? (Range => $range) : ();

    my ($response, $records, $arrived) = did($sliced, undef,
                                             headers => { %headers });
    refused($response, 'no_token', "slices, $name");
    is_deeply($arrived, [], "slices, $name: nothing arrives");

    ($response, $records, $arrived) = did($sliced, grant('sliced'),
                                          headers => { %headers });
    is($response->body, substr($whole, $from, $to - $from + 1),
       "slices, $name: allowed");
    is_deeply($records, [ "end $sliced allow", "start $sliced" ],
              "slices, $name: one access on record");
    cmp_ok(scalar @$arrived, '>', 1, "slices, $name: of more than one");
}


# Nor does a failure of ours let anybody in

# another service, so that it is another grant
my $unknown = grant('mail', 'unused');
$t->redis_stop;

($response, $records, $arrived) = did('/check/x', $unknown);
is($response->status, 500, 'auth_request without Redis');
is_deeply($records, [ "end $secret store_unavailable" ], 'on record');
is_deeply($arrived, [], 'nothing arrives');

done_testing;
