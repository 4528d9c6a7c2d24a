#!/usr/bin/env perl

# Why: what people approve is what they read.  Nothing may hide in it, no
# secret may get into it, nothing may be asked for that nobody can serve, and
# nobody may bury the others under requests.

use strict;
use warnings;

use Digest::SHA qw(sha1_hex);

use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Calls;

my $TOKENS = qr/eyJ|2YotnFZFEjr1zCsicMWpAA/;

my $LOCATIONS = <<'EOF_LOCATIONS';
location /tenants/acme/mail/ {
    lockbox          on;
    lockbox_tenant   acme;
    lockbox_service  mail;
    lockbox_label    confidential;
    proxy_pass       http://127.0.0.1:%%PORT_8081%%;

    location /tenants/acme/mail/legal/ {
        lockbox_label  secret;
        proxy_pass     http://127.0.0.1:%%PORT_8081%%;
    }
}

location /tenants/acme/files/ {
    lockbox          on;
    lockbox_tenant   acme;
    lockbox_service  files;
    proxy_pass       http://127.0.0.1:%%PORT_8081%%;
}

location /tenants/acme/notes/ {
    lockbox          on;
    lockbox_tenant   acme;
    lockbox_service  notes;
    lockbox_label    a b;
    proxy_pass       http://127.0.0.1:%%PORT_8081%%;
}

location /tenants/acme/notes/other/ {
    lockbox          on;
    lockbox_tenant   acme;
    lockbox_service  notes;
    lockbox_label    c;
    proxy_pass       http://127.0.0.1:%%PORT_8081%%;
}

location /lockbox/ {
    lockbox_admin  on;
}
EOF_LOCATIONS

# Of another tenant, unless told otherwise.
my $ELSEWHERE = <<'EOF_LOCATIONS';
location ~ ^/tenants/(?<tenant>globex)/wiki/ {
    lockbox          on;
    lockbox_tenant   globex;
    lockbox_service  wiki;
    proxy_pass       http://127.0.0.1:%%PORT_8081%%;
}

location ~ ^/tenants/(?<tenant>globex)/mail/ {
    lockbox          on;
    lockbox_tenant   globex;
    lockbox_service  mail;
    lockbox_label    top;
    proxy_pass       http://127.0.0.1:%%PORT_8081%%;
}

location ~ ^/tenants/(?<tenant>globex)/notes/ {
    lockbox          on;
    lockbox_tenant   globex;
    lockbox_service  notes;
    proxy_pass       http://127.0.0.1:%%PORT_8081%%;
}
EOF_LOCATIONS

my $VARIABLE = <<'EOF_LOCATIONS';
location ~ ^/tenants/acme/(?<service>calendar|chat)/ {
    lockbox          on;
    lockbox_tenant   acme;
    lockbox_service  $service;
    proxy_pass       http://127.0.0.1:%%PORT_8081%%;
}
EOF_LOCATIONS

my $ADMIN = <<'EOF_LOCATIONS';
location /lockbox/ {
    lockbox_admin  on;
}
EOF_LOCATIONS

my $t = Test::Lockbox->new;

begin($t);

what_does_not_show();
tokens();
formulas();
what_can_be_served();
too_many();
too_many_at_once();

done_testing();


# Every text that somebody writes and somebody else reads: whose it is, its
# member, and how it is sent.
sub texts {
    my $open = file();
    my $asked = file();
    took('manager', 'ask', $asked, version => 1, comment => 'Which one?');
    my $live = approved();

    return (
        [ 'justification', sub { ask('engineer', 'POST', $REQUESTS,
            json => filing(justification => "The inbox $_[0] is shut.")) } ],
        [ 'ticket', sub { ask('engineer', 'POST', $REQUESTS,
            json => filing(ticket => "SR $_[0]")) } ],
        map({
            my ($who, $action, $id, %body) = @$_;
            [ 'comment', sub {
                act($who, $action, $id, { %body, comment => "So $_[0] it is" })
            }, " of $action" ];
        } [ 'manager', 'ask', $open, version => 1 ],
          [ 'manager', 'approve', $open, version => 1 ],
          [ 'manager', 'deny', $open, version => 1 ],
          [ 'engineer', 'cancel', $open ],
          [ 'engineer', 'answer', $asked ],
          [ 'engineer', 'complete', $live ],
          [ 'customer', 'revoke', $live ]),
    );
}

# Each piece is refused in each text, by the text's name; the twin is taken.
sub kept_out {
    my ($cases, $twin) = @_;

    for my $text (texts()) {
        my ($member, $send, $of) = @$text;
        my $saved = save_all();

        for my $name (sort keys %$cases) {
            my $response = refused("$name in $member" . ($of // ''),
                                   "400 invalid_member /$member",
                                   sub { $send->($cases->{$name}) });
            like($response->json->{detail}, qr/^It has /, '... which says why');
        }

        accepted("none of that in $member" . ($of // ''),
                 sub { $send->($twin) });
        load_all($saved);
    }

    redis('FLUSHALL');
}

sub what_does_not_show {
    my %hidden = (
        'U+202E (W29)' => "\x{202e}", 'U+2066 (W29)' => "\x{2066}",
        'U+2069 (W29)' => "\x{2069}", 'U+200B (W29)' => "\x{200b}",
        'a tag character (W29)' => "\x{e0041}", 'U+FEFF' => "\x{feff}",
        'U+0085' => "\x{85}", 'U+00AD' => "\x{ad}", 'U+061C' => "\x{61c}",
        'U+2028' => "\x{2028}", 'U+3164' => "\x{3164}",
    );

    kept_out(\%hidden, "\x{e9}\x{540d}\x{1f600}\x{627}");
}

# What was pasted by mistake gets neither into Redis nor into a log.
sub tokens {
    my $jwt = 'eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJlcmluIn0.c2lnbmF0dXJl';
    my %tokens = (
        'a token (W31)' => $jwt,
        'a token in the middle (W31)' => "with $jwt, I mean",
        'a token without its end (W31)' => $jwt =~ s/[^.]+$//r,
        'an Authorization header (W31)' =>
            'Authorization: Bearer 2YotnFZFEjr1zCsicMWpAA',
        'bearer in any case (W31)' => 'bEARER 2YotnFZFEjr1zCsicMWpAA',
    );

    kept_out(\%tokens, 'eyJ is how a bearer of bearer tokens begins');

    # a real one, wrapped, where lines may be
    my $wrapped = token_of('engineer') =~ s/(.{40})/$1\n/gr;
    refused('a token in lines (W31)', '400 invalid_member /justification',
            sub { ask('engineer', 'POST', $REQUESTS,
                      json => filing(justification => $wrapped)) });

    unlike(JSON::PP->new->allow_nonref->encode(contents()), $TOKENS,
           'no token is stored (W31)');
    unlike($t->read_file($_), $TOKENS, "... nor in $_")
        for qw(audit.log error.log);
}

# Data stays data: it is for whoever makes something else of it to quote it.
sub formulas {
    for my $text ('=HYPERLINK("http://evil.example","click me")',
                  '+1+1 is a formula', '-2+3 is, too', '@SUM(1,2) as well',
                  '"quoted", and a \\ backslash')
    {
        my $response = ask('engineer', 'POST', $REQUESTS,
                           json => filing(justification => $text));
        my $id = $response->json->{id};

        is($response->header('content-type'), $JSON_TYPE, 'JSON (W30)');
        is($response->json->{justification}, $text, '... of the very text');
        is(act('manager', 'show', $id)->json->{justification}, $text,
           '... to whoever reads it (W30)');
        is(approve('manager', $id, comment => $text)->{decisions}[0]{comment},
           $text, '... in a comment, too');
    }

    redis('FLUSHALL');
}

sub filed_for {
    my ($service, @labels) = @_;

    return sub {
        my ($first) = @{ filing()->{access} };
        my %item = (%$first, service => $service, labels => \@labels);

        return ask('engineer', 'POST', $REQUESTS, json => filing(access =>
                   [ { %$first, labels => ['confidential'] }, \%item ]));
    };
}

sub taken_and_not {
    my ($case, $right, $wrong) = @_;

    accepted("$case: a request for @$_", filed_for(@$_)) for @$right;

    for (@$wrong) {
        my ($at, @asked) = @$_;

        refused("$case: a request for @asked",
                "400 invalid_member /access/1$at", filed_for(@asked));
    }
}

# Where all locations say which service they are, others are asked for in vain,
# and so is one of which nothing opens for want of a label.
sub what_can_be_served {
    my @right = ([ 'files' ], [ 'mail', 'confidential' ],
                 [ 'mail', 'confidential', 'secret' ], [ 'notes', 'a', 'b' ],
                 [ 'notes', 'c' ], [ 'notes', 'a', 'c' ]);
    my @wrong = (
        [ '/service', 'chat' ], [ '/service', 'mails' ], [ '/service', 'mai' ],
        [ '/service', 'chat', 'secret' ],
        [ '/labels/1', 'mail', 'confidential', 'top' ],
        [ '/labels/0', 'mail', 'top' ],
        [ '/labels/1', 'mail', 'secret', 'secre' ],
        [ '/labels/0', 'files', 'secret' ],
        [ '/labels', 'mail' ], [ '/labels', 'mail', 'secret' ],
        [ '/labels', 'notes' ], [ '/labels', 'notes', 'a' ],
        [ '/labels', 'notes', 'b' ],
    );
    my $globex = sub { $_[0] =~ s/lockbox_tenant   \Kacme/globex/gr };
    my $anyones = sub { $_[0] =~ s/lockbox_tenant   \Kglobex/\$tenant/gr };

    change_conf(locations => $LOCATIONS);
    taken_and_not('acme', \@right, \@wrong);

    # those of another tenant serve nothing here, and those of any may
    change_conf(locations => $LOCATIONS . $ELSEWHERE);
    taken_and_not('globex has more', \@right,
                  [ @wrong, [ '/service', 'wiki' ] ]);

    change_conf(locations => $LOCATIONS . $anyones->($ELSEWHERE));
    taken_and_not('anyone has more', [ @right, [ 'wiki' ], [ 'mail', 'top' ],
                                       [ 'notes' ], [ 'notes', 'a' ] ],
                  [ [ '/service', 'chat' ], [ '/labels', 'mail' ],
                    [ '/labels/0', 'notes', 'top' ] ]);

    # what globex takes from the request is globex's still
    change_conf(locations => $LOCATIONS . $globex->($VARIABLE));
    taken_and_not('globex has any', \@right, \@wrong);

    # nothing can be known where one is a variable, or none is here
    for my $locations ($LOCATIONS . $VARIABLE, $ADMIN) {
        change_conf(locations => $locations);
        taken_and_not('maybe elsewhere',
                      [ @right, map { [ @$_[1 .. $#$_] ] } @wrong ], []);
    }

    redis('FLUSHALL');
}

# So many of one engineer may wait for somebody at one tenant, and no more.
sub too_many {
    change_conf(directives => { lockbox_max_open => 2 });

    my $one_more = sub {
        ask('engineer', 'POST', $REQUESTS, json => filing());
    };
    my @ids = (file(), file());
    my $before = contents();

    records();
    my $response = $one_more->();

    is(outcome($response), '429 too_many_requests', 'the third of two (W25)');
    like($response->json->{detail}, qr/cancel one, or come back when/,
         '... which says what to do');
    is_deeply([ record_words(records()) ],
              [ 'start request', 'end request too_many_requests' ],
              '... is recorded');
    is_deeply(contents(), $before, '... and changes nothing');

    ok(file(who => 'other-engineer'), 'others may file');
    ok(file(tenant => 'globex', access => [ { service => 'mail',
           methods => ['GET'], paths => ['/tenants/globex/'] } ]),
       '... and he elsewhere');

    my %frees = (
        'cancelled' => sub { took('engineer', 'cancel', $_[0]) },
        'denied' => sub { took('manager', 'deny', $_[0], version => 1) },
        'approved' => sub { approve($_, $_[0]) for qw(manager customer) },
        'past its time, not swept' => sub { make_due($_[0], unseen => 1);
            redis('ZADD', open_key(), now() - 1000, $_[0]) },
    );

    for my $name (sort keys %frees) {
        $frees{$name}->($ids[0]);
        @ids = ($ids[1], file());
        is(outcome($one_more->()), '429 too_many_requests',
           "one that is $name makes room for one (W25)");
    }

    took('manager', 'ask', $ids[0], version => 1, comment => 'Why?');
    is(outcome($one_more->()), '429 too_many_requests',
       'one that waits for an answer waits (W25)');
    took('engineer', 'answer', $ids[0], comment => 'Because.');
    approve('manager', $ids[0]);
    is(outcome($one_more->()), '429 too_many_requests',
       '... as one that waits for the customer (W25)');

    # by the sweep, too
    make_due($_) for @ids;
    $t->wait_for(sub {
        2 == grep { stored($_)->{state} eq 'lapsed' } @ids;
    }, undef, 'the sweep');
    is(redis('EXISTS', open_key()), 0, 'what has lapsed leaves nothing');
    ok(file(), '... and makes room');

    redis('FLUSHALL');
}

# The key of erin's at acme.
sub open_key {
    return 'lockbox:{acme}:open:'
           . sha1_hex("https://login.vendor.example\nerin");
}

# However many come at once.
sub too_many_at_once {
    change_conf(workers => 2, directives => { lockbox_max_open => 7 });

    my @connections = map { $t->http_connect } 1 .. 30;

    $_->request('POST', $REQUESTS, token => token_of('engineer'),
                json => filing()) for @connections;

    my %outcomes;
    $outcomes{ outcome($_->response) }++ for @connections;

    is_deeply(\%outcomes, { '201 ok' => 7, '429 too_many_requests' => 23 },
              'thirty at once, of which seven may wait (W25)');
    is(scalar @{ ask('engineer', 'GET', $REQUESTS)->json->{requests} }, 7,
       '... and are listed');
}
